"""Soak: a stream of messages with recalls beside it; nothing may be lost, and the event loop must stay free."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from cogs.bench import chatter
from cogs.bench.ingest import running
from cogs.bench.measure import PathFigures, machine, own_peak_mb
from cogs.bench.report import Bench, Series, Target
from cogs.memory.records import RecallRequest, Scope
from cogs.memory.service import MemoryService

TICK: Final = 0.05
"""Seconds between two batches of arriving messages."""
CHANNELS: Final = 20
RECALL, REMEMBER = "mneme: recall", "mneme: remember"


@dataclass
class Observed:
    """What a run saw; times in seconds, memory in MiB."""

    recalls: list[float] = field(default_factory=list)
    remembers: list[float] = field(default_factory=list)
    rss: list[tuple[float, float]] = field(default_factory=list)
    queue: list[tuple[float, int]] = field(default_factory=list)
    lag: float = 0.0
    idle_lag: float = 0.0
    callback: float = 0.0
    callback_work: float = 0.0
    sent: int = 0
    late: float = 0.0
    drain: float = 0.0
    stored: int = 0
    indexed: int = 0
    failed: int = 0


async def _watch_loop(lags: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append(time.perf_counter() - before - 0.005)


@contextmanager
def longest_callbacks(seen: Observed) -> Iterator[None]:
    """Note the longest callback of the event loop: by the clock, and what the loop's thread itself worked in it.

    Between the two lies what other threads took meanwhile, of the interpreter or of the machine's cores.
    """
    run: Callable[[asyncio.Handle], None] = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began, worked = time.perf_counter(), time.thread_time()
        run(handle)
        seen.callback_work = max(seen.callback_work, time.thread_time() - worked)
        seen.callback = max(seen.callback, time.perf_counter() - began)

    asyncio.Handle._run = timed  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        asyncio.Handle._run = run  # type: ignore[assignment,method-assign]


async def _idle_lag(seconds: float) -> float:
    """Return the largest lag of an event loop that has nothing to do: what the machine itself takes."""
    lags: list[float] = []
    watcher = asyncio.create_task(_watch_loop(lags))
    await asyncio.sleep(seconds)
    watcher.cancel()
    return max(lags, default=0.0)


async def _ask(service: MemoryService, seen: Observed, query: str) -> None:
    scope = Scope.of(chatter.GUILD, [channel.id for channel in chatter.channels(CHANNELS)])
    started = time.perf_counter()
    result = await service.recall(RecallRequest(query, scope))
    seen.recalls.append(time.perf_counter() - started)
    reranks = service.slot.current.profile.reranker is not None
    seen.failed += reranks and result.degraded is not None


async def _ask_all(service: MemoryService, seen: Observed, rate: float, seconds: float) -> None:
    started = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(_ask(service, seen, chatter.QUERIES[number % len(chatter.QUERIES)])))
    await asyncio.gather(*tasks)


async def _send_all(service: MemoryService, seen: Observed, rate: float, seconds: float) -> None:
    source = chatter.messages(int(rate * seconds), CHANNELS)
    started = time.perf_counter()
    while True:
        due = int((time.perf_counter() - started) * rate) - seen.sent
        batch = list(islice(source, max(1, due)))
        if not batch:
            break
        before = time.perf_counter()
        await service.remember(batch)
        seen.remembers.append(time.perf_counter() - before)
        seen.sent += len(batch)
        await asyncio.sleep(TICK)
    seen.late = max(0.0, time.perf_counter() - started - seconds)


async def _sample(service: MemoryService, seen: Observed) -> None:
    process, started = psutil.Process(), time.perf_counter()
    while True:
        queue = await asyncio.to_thread(service.repository.vectors.queue_length)
        passed = round(time.perf_counter() - started, 1)
        seen.rss.append((passed, round(process.memory_info().rss / 2**20, 1)))
        seen.queue.append((passed, queue))
        await asyncio.sleep(1.0)


async def _soak(profile: str, rate: float, recalls: float, seconds: float, say: Callable[[str], None]) -> Observed:
    seen = Observed()
    with tempfile.TemporaryDirectory() as scratch:
        async with running(Path(scratch), profile, CHANNELS) as service:
            await service.remember(list(chatter.messages(50, CHANNELS, first=10_000_000)))
            await service.drain()
            await _ask(service, Observed(), chatter.QUERIES[0])
            seen.idle_lag = await _idle_lag(min(5.0, seconds))
            lags: list[float] = []
            watchers = [asyncio.create_task(_watch_loop(lags)), asyncio.create_task(_sample(service, seen))]
            say(f"{rate:g} messages and {recalls:g} recalls a second for {seconds:g} s")
            with longest_callbacks(seen):
                await asyncio.gather(_send_all(service, seen, rate, seconds), _ask_all(service, seen, recalls, seconds))
                say("draining")
                started = time.perf_counter()
                await service.drain()
                seen.drain = time.perf_counter() - started
            for watcher in watchers:
                watcher.cancel()
            seen.lag = max(lags)
            guild = Scope.of(chatter.GUILD, [channel.id for channel in chatter.channels(CHANNELS)])
            seen.stored = (await service.reach(guild)).messages - 50
            indexes = service.slot.current.indexes
            seen.indexed = await asyncio.to_thread(lambda: len(indexes.store(chatter.GUILD))) - 50
    return seen


def run(
    profile: str, rate: float, recalls: float, seconds: float, *, say: Callable[[str], None] = lambda _: None
) -> Bench:
    """Remember ``rate`` messages and answer ``recalls`` questions a second for ``seconds``.

    Args:
        profile: the profile that the memory runs with.
        rate: messages a second.
        recalls: questions a second.
        seconds: how long.
        say: called with one sentence for each step, for a progress line.
    """
    bench = Bench("soak", {}, machine())
    seen = asyncio.run(_soak(profile, rate, recalls, seconds, say))
    peak = own_peak_mb()
    for name, times in ((RECALL, seen.recalls), (REMEMBER, seen.remembers)):
        p50, p95 = (float(np.percentile(times, q)) for q in (50, 95))
        bench.paths[name] = PathFigures(p50, (min(times), max(times)), 1.0, (1.0, 1.0), peak_rss_mb=peak)
        bench.paths[name].facts |= {"p50": round(p50, 4), "p95": round(p95, 4), "calls": len(times)}
    recall = bench.paths[RECALL].facts
    lost = seen.sent - min(seen.stored, seen.indexed)
    bench.facts = {
        "profile": profile,
        "messages_per_second": rate,
        "recalls_per_second": recalls,
        "duration_seconds": seconds,
        "sent": seen.sent,
        "stored": seen.stored,
        "indexed": seen.indexed,
        "lost": lost,
        "degraded_recalls": seen.failed,
        "sent_late_by_seconds": round(seen.late, 1),
        "drain_seconds": round(seen.drain, 1),
        "largest_loop_lag_ms": round(seen.lag * 1000, 1),
        "longest_callback_ms": round(seen.callback * 1000, 1),
        "longest_callback_work_ms": round(seen.callback_work * 1000, 1),
        "largest_idle_loop_lag_ms": round(seen.idle_lag * 1000, 1),
        "largest_queue": max(queue for _, queue in seen.queue),
        "rss_mb": [mb for _, mb in seen.rss][:: max(1, len(seen.rss) // 60)],
    }
    bench.notes = [
        f"Profile {profile}: {rate:g} messages and {recalls:g} recalls a second for {seconds:g} s; seconds are the "
        "median of a call, the spread its extremes. There is nothing to compare with, so every ratio is 1.",
        f"Recall: p50 {recall['p50'] * 1000:.0f} ms, p95 {recall['p95'] * 1000:.0f} ms over {recall['calls']} calls, "
        f"{seen.failed} of them degraded.",
        f"{seen.sent:,} messages sent, {seen.stored:,} stored and {seen.indexed:,} indexed; the queue was "
        f"{bench.facts['largest_queue']:,} at most and empty {seen.drain:.1f} s after the last message.",
        f"The event loop's largest lag was {seen.lag * 1000:.0f} ms; idle, just before, {seen.idle_lag * 1000:.0f} ms, "
        "which is what the machine's other programs take. The longest callback lasted "
        f"{seen.callback * 1000:.0f} ms by the clock; in none did the loop's thread work for more than "
        f"{seen.callback_work * 1000:.0f} ms, the rest went to other threads.",
        f"Resident memory: {seen.rss[0][1]:.0f} MB at the start, {seen.rss[-1][1]:.0f} MB at the end.",
    ]
    bench.targets = [
        Target("no message lost", f"{lost} of {seen.sent:,}", lost == 0, exact=True),
        Target("no callback above 50 ms", f"{seen.callback * 1000:.0f} ms", seen.callback <= 0.05),
    ]
    if len(seen.rss) > 2:
        bench.series["rss"] = memory_over_time(seen.rss)
    return bench


def memory_over_time(samples: Sequence[tuple[float, float]]) -> Series:
    """Return the plot of (seconds, MiB)."""
    xs = tuple(passed for passed, _ in samples)
    return Series("Soak: resident memory over time", "seconds", "MB", xs, {"rss": [mb for _, mb in samples]}, False)
