"""Soak through Discord: the real bot process on a loopback gateway, people who talk and people who ask."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from cogs.bench import chatter
from cogs.bench.loopback_discord import DiscordServer
from cogs.bench.loopback_discord.bot_process import running_bot
from cogs.bench.loopback_discord.gateway import HEARTBEAT_MS
from cogs.bench.measure import BenchError, PathFigures, machine
from cogs.bench.report import Bench, Target
from cogs.bench.soak import memory_over_time
from cogs.memory.storage.database import create_engine
from cogs.memory.storage.people import PersonHasher
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.verify import Verification, verify_stores

TICK: Final = 0.05
CHANNELS: Final = 20
DRAIN_SECONDS: Final = 600.0
DEGRADED: Final = ("took longer", "reranker failed", "found by their words", "less deep than usual")
RECALL: Final = "discord: recall"


@dataclass
class Observed:
    """What a run saw from the outside; times in seconds, memory in MiB."""

    recalls: list[float] = field(default_factory=list)
    unanswered: int = 0
    degraded: int = 0
    sent: int = 0
    late: float = 0.0
    silence: float = 0.0
    own_lag: float = 0.0
    drain: float = 0.0
    stop: float = 0.0
    rss: list[tuple[float, float]] = field(default_factory=list)
    verified: Verification | None = None


class Crowd:
    """A server of twenty channels whose members talk and ask; Ada manages it."""

    def __init__(self, server: DiscordServer) -> None:
        world = server.world
        self.server = server
        self.people = [world.person(name) for name in chatter.AUTHORS]
        guild = world.guild("Soak", *self.people)
        world.role(guild, "Bot", (1 << 52) - 1, world.bot)
        world.role(guild, "Managers", 1 << 5, self.people[0])
        self.channels = [world.channel(guild, f"channel-{number}") for number in range(CHANNELS)]
        self.rng = random.Random(7)

    async def talk(self, seen: Observed, rate: float, seconds: float) -> None:
        """Send messages at the rate, catching up where the machine was busy."""
        started, total = time.perf_counter(), int(rate * seconds)
        while seen.sent < total:
            due = min(total, int((time.perf_counter() - started) * rate) + 1)
            while seen.sent < due:
                author, channel = self.rng.choice(self.people), self.rng.choice(self.channels)
                await self.server.say(author, channel, chatter.text(self.rng, rare=0.2))
                channel.messages.clear()  # nobody asks the loopback server for them again
                seen.sent += 1
            await asyncio.sleep(TICK)
        seen.late = max(0.0, time.perf_counter() - started - seconds)

    async def ask(self, seen: Observed, number: int) -> None:
        """Use /recall as one of the members and time it until the answer is shown."""
        person, channel = self.people[number % len(self.people)], self.channels[number % CHANNELS]
        query = chatter.QUERIES[number % len(chatter.QUERIES)]
        started = time.perf_counter()
        call = await self.server.slash(person, channel, "recall", query=query)
        try:
            shown = await call.answer(60)
        except TimeoutError:
            seen.unanswered += 1
            return
        seen.recalls.append(time.perf_counter() - started)
        seen.degraded += any(words in shown for words in DEGRADED)

    async def ask_all(self, seen: Observed, rate: float, seconds: float) -> None:
        """Ask at the rate, each question in its own time."""
        started = time.perf_counter()
        tasks = []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(self.ask(seen, number)))
        await asyncio.gather(*tasks)

    async def wait_until_drained(self, seen: Observed) -> None:
        """Wait until the bot says that its queue is empty."""
        started = time.perf_counter()
        while time.perf_counter() - started < DRAIN_SECONDS:
            status = await self.server.slash(self.people[0], self.channels[0], "memory status")
            shown = await status.answer(60)
            if f"Messages: {seen.sent:,} " in shown and "Queue: empty" in shown:
                break
            await asyncio.sleep(1.0)
        seen.drain = time.perf_counter() - started


async def _sample(process: psutil.Process, seen: Observed) -> None:
    started = time.perf_counter()
    while process.is_running():
        passed = round(time.perf_counter() - started, 1)
        seen.rss.append((passed, round(process.memory_info().rss / 2**20, 1)))
        await asyncio.sleep(1.0)


async def _watch_own_lag(seen: Observed) -> None:
    """Note by how much this process itself was late at most: a heartbeat that it reads late was not sent late."""
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        seen.own_lag = max(seen.own_lag, time.perf_counter() - due)


def _verify(data: Path) -> Verification:
    """Return how rows, keywords and vectors of what the bot left behind compare."""
    engine = create_engine(f"sqlite:///{data / 'mneme.db'}")
    try:
        return verify_stores(Repository(engine, PersonHasher(b"")))
    finally:
        engine.dispose()


async def _soak(profile: str, rate: float, recalls: float, seconds: float, say: Callable[[str], None]) -> Observed:
    seen = Observed()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        server = await DiscordServer().start()
        try:
            crowd = Crowd(server)
            say("starting the bot")
            async with running_bot(server, folder, MNEME_PROFILE=profile) as bot:
                sampler = asyncio.create_task(_sample(psutil.Process(bot.process.pid), seen))
                await crowd.ask(Observed(), 0)
                say(f"{rate:g} messages and {recalls:g} recalls a second for {seconds:g} s")
                server.gateway.beats.clear()
                watch = asyncio.create_task(_watch_own_lag(seen))
                await asyncio.gather(crowd.talk(seen, rate, seconds), crowd.ask_all(seen, recalls, seconds))
                seen.silence = server.gateway.longest_silence()
                watch.cancel()
                say("waiting until all is remembered")
                await crowd.wait_until_drained(seen)
                sampler.cancel()
                started = time.perf_counter()
                if await bot.terminate(30) != 0:
                    raise BenchError(f"The bot ended badly: {bot.log[-500:]}")
                seen.stop = time.perf_counter() - started
            seen.verified = await asyncio.to_thread(_verify, folder / "data")
        finally:
            await server.stop()
    return seen


def run(
    profile: str, rate: float, recalls: float, seconds: float, *, say: Callable[[str], None] = lambda _: None
) -> Bench:
    """Let people send ``rate`` messages and ask ``recalls`` questions a second for ``seconds``.

    Args:
        profile: the profile that the bot runs with.
        rate: messages a second.
        recalls: questions a second.
        seconds: how long.
        say: called with one sentence for each step, for a progress line.

    Raises:
        BenchError: the bot ended badly.
    """
    interval = HEARTBEAT_MS / 1000
    bench = Bench("soak", {}, machine())
    seen = asyncio.run(_soak(profile, rate, recalls, seconds, say))
    late = max(0.0, seen.silence - interval)
    p50, p95, p99 = (float(np.percentile(seen.recalls, q)) for q in (50, 95, 99))
    peak = max(mb for _, mb in seen.rss)
    extremes = (min(seen.recalls), max(seen.recalls))
    bench.paths[RECALL] = PathFigures(p50, extremes, 1.0, (1.0, 1.0), peak_rss_mb=peak)
    bench.paths[RECALL].facts |= {"p50": p50, "p95": p95, "p99": p99, "calls": len(seen.recalls)}
    verify = seen.verified
    assert verify is not None
    lost = seen.sent - verify.messages
    bench.facts = {
        "profile": profile,
        "messages_per_second": rate,
        "recalls_per_second": recalls,
        "duration_seconds": seconds,
        "sent": seen.sent,
        "stored": verify.messages,
        "lost": lost,
        "agrees": verify.agrees,
        "unanswered_recalls": seen.unanswered,
        "degraded_recalls": seen.degraded,
        "sent_late_by_seconds": round(seen.late, 1),
        "drain_seconds": round(seen.drain, 1),
        "stop_seconds": round(seen.stop, 1),
        "longest_heartbeat_silence_seconds": round(seen.silence, 2),
        "heartbeat_interval_seconds": interval,
        "own_lag_seconds": round(seen.own_lag, 2),
        "rss_mb": [mb for _, mb in seen.rss][:: max(1, len(seen.rss) // 60)],
    }
    bench.notes = [
        f"The real bot as a process of its own, on a loopback Discord beside it on the same cores; profile {profile}, "
        f"{rate:g} messages and {recalls:g} recalls a second for {seconds:g} s. Times are those that a member sees, "
        "from sending /recall until the answer is shown. There is nothing to compare with, so every ratio is 1.",
        f"Recall: p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms over {len(seen.recalls)} "
        f"calls, {seen.degraded} of them degraded, {seen.unanswered} without an answer within a minute.",
        f"{seen.sent:,} messages sent, the last {seen.late:.1f} s late; all embedded {seen.drain:.1f} s after it; "
        f"{verify.messages:,} found afterwards, and "
        f"{verify.sentence}. SIGTERM took {seen.stop:.1f} s.",
        f"Heartbeats every {interval:g} s: the longest silence was {seen.silence:.2f} s. The loopback Discord itself, "
        f"which notes them, was late by {seen.own_lag:.2f} s at most.",
        f"The bot's resident memory: {seen.rss[0][1]:.0f} MB at the start, {seen.rss[-1][1]:.0f} MB at the end.",
    ]
    bench.targets = [
        Target("no message lost", f"{lost} of {seen.sent:,}", lost == 0 and verify.agrees, exact=True),
        Target("heartbeats never late by more than a second", f"{late:.2f} s", late <= 1.0),
        Target("every recall answered", f"{seen.unanswered} without an answer", seen.unanswered == 0, exact=True),
        Target("SIGTERM within ten seconds", f"{seen.stop:.1f} s", seen.stop <= 10.0),
    ]
    if len(seen.rss) > 2:
        bench.series["rss"] = memory_over_time(seen.rss)
    return bench
