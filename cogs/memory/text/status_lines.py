"""What /memory status, /memory profile and /privacy show show, as lines of text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cogs.memory.records import PersonSummary, ProfileReport, Status
from cogs.memory.text.presentation import counted, day_text
from cogs.memory.text.sanitize import one_line


def _span_text(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return counted(int(seconds), "second")


def status_lines(status: Status) -> tuple[str, ...]:
    """Return the state of the memory, a line for each fact, plain."""
    lines = [
        f"Messages: {status.messages:,} in {counted(status.channels, 'channel')}",
        f"Queue: {counted(status.queue, 'message')} waiting" if status.queue else "Queue: empty",
        f"Profile: {status.profile} on {status.device}",
        f"Embedder: {status.embedder}",
        f"Reranker: {status.reranker or 'none, results come in fused order'}",
        f"Index: {status.index}",
    ]
    for stage, percentiles in sorted(status.latency.items()):
        times = ", ".join(f"{name} {seconds * 1000:,.0f} ms" for name, seconds in sorted(percentiles.items()))
        lines.append(f"Latency of {stage}: {times}")
    if status.tokens_saved:
        lines.append(f"Tokens saved by evidence: {status.tokens_saved:,}")
    if status.set_aside:
        lines.append(f"⚠ {counted(status.set_aside, 'message')} could not be stored since the start, and left out")
    lines.append(f"Up for {_span_text(status.uptime)}")
    if status.degraded:
        lines.append("⚠ " + one_line(status.degraded, 300))
    lines.append(f"Last error: {one_line(status.last_error, 300) if status.last_error else 'none'}")
    return tuple(lines)


def profile_lines(profiles: Sequence[ProfileReport]) -> tuple[str, ...]:
    """Return a line for each profile: which is in use, and why others cannot be."""
    lines = []
    for profile in profiles:
        mark = "●" if profile.active else ("○" if profile.runnable else "✕")
        line = f"{mark} {profile.name}: {one_line(profile.description, 200)}"
        if profile.active:
            line += " (in use)"
        elif not profile.runnable:
            line += f" — not here: {one_line(profile.reason or 'this machine cannot run it', 200)}"
        lines.append(line)
    return tuple(lines)


def person_lines(summary: PersonSummary, now: dt.datetime) -> tuple[str, ...]:
    """Return what is stored about one person."""
    if summary.opted_out:
        return ("You have opted out: nothing of yours is stored, and nothing new will be.",)
    if summary.messages == 0 or summary.first is None or summary.last is None:
        return ("Nothing of yours is stored.",)
    stored = f"{counted(summary.messages, 'message')} of yours in {counted(summary.channels, 'channel')}"
    return (f"I remember {stored}, from {day_text(summary.first, now)} to {day_text(summary.last, now)}.",)
