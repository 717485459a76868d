"""Questions on the sample server and small sets beside it: ``python -m cogs.lab.evaluation.sample [PROFILE]``.

Fifty questions on ``data/sample``, ten facts in five languages, ten facts that changed, six forum posts asked by their
titles and by most words of them. It counts how often the right message came first, and prints what came first instead.
A check of the whole way through the service, too small to choose between models by.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cogs.imports.importing import import_files
from cogs.memory.access.guild_view_files import GUILD_FILE, exports_in
from cogs.memory.records import ChannelInfo, Hit, IncomingMessage, RecallRequest, Scope
from cogs.memory.service import MemoryService
from config.settings import PROJECT_DIR, Settings

HERE = Path(__file__).parent
SAMPLE = PROJECT_DIR / "data" / "sample"
NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
GUILD = 7
PEOPLE = ("Ines", "Jonas", "Priya", "Marek", "Alba")


@dataclass
class Count:
    """How many questions of a set had the right message first, and what came first where it was not."""

    right: int = 0
    asked: int = 0
    wrong: list[str] = field(default_factory=list)

    def note(self, question: str, hits: tuple[Hit, ...], *, right: bool) -> None:
        """Count one question."""
        self.asked += 1
        self.right += right
        if not right:
            self.wrong.append(f"{question} → {hits[0].message.content[:80] if hits else 'nothing'}")


def _read(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))


async def _ask(service: MemoryService, question: str, guild_id: int, channels: Iterable[int]) -> tuple[Hit, ...]:
    scope = Scope.of(guild_id, list(channels))
    return (await service.recall(RecallRequest(question, scope, limit=5, asked_at=NOW))).hits


async def sample_server(service: MemoryService) -> Count:
    """Ask the fifty questions on the sample server."""
    await import_files(service, [path for path in exports_in(SAMPLE) if path.name != GUILD_FILE])
    await service.drain()
    guild = next(iter(await service.guild_ids()))
    channels = [channel.id for channel in await service.channels(guild)]
    count = Count()
    for row in _read("sample_questions.yaml"):
        hits = await _ask(service, row["ask"], guild, channels)
        count.note(row["ask"], hits, right=bool(hits) and hits[0].message.id % 1000 in row["answers"])
    return count


def _message(number: int, channel: int, author: int, text: str, when: dt.datetime) -> IncomingMessage:
    return IncomingMessage(number, GUILD, channel, 90 + author, PEOPLE[author], text, when)


async def facts(service: MemoryService) -> dict[str, Count]:
    """Ask ten facts in each language, among each other."""
    counts = {}
    for place, (language, rows) in enumerate(_read("facts.yaml")["facts"].items()):
        channel = 100 + place
        await service.upsert_channels([ChannelInfo(channel, GUILD, f"talk-{language}")])
        start = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
        said = [
            _message(channel * 1000 + n, channel, n % len(PEOPLE), text, start + dt.timedelta(hours=n))
            for n, (text, _) in enumerate(rows)
        ]
        await service.remember(said)
        await service.drain()
        count = counts[f"facts, {language}"] = Count()
        for n, (_, question) in enumerate(rows):
            hits = await _ask(service, question, GUILD, [channel])
            count.note(question, hits, right=bool(hits) and hits[0].message.id == channel * 1000 + n)
    return counts


async def changed(service: MemoryService) -> Count:
    """Ask for facts that changed: the newer has to stand above the older."""
    channel, rows = 200, _read("facts.yaml")["changed"]
    await service.upsert_channels([ChannelInfo(channel, GUILD, "changes")])
    start = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    said = [
        _message(
            channel * 1000 + n + part * 500,
            channel,
            n % len(PEOPLE),
            row[part],
            start + dt.timedelta(days=n + 300 * part),
        )
        for part in (0, 1)
        for n, row in enumerate(rows)
    ]
    await service.remember(said)
    await service.drain()
    count = Count()
    for n, (_, _, asked) in enumerate(rows):
        question = asked.format(A=PEOPLE[n % len(PEOPLE)])
        hits = await _ask(service, question, GUILD, [channel])
        order = [hit.message.id for hit in hits]
        older, newer = channel * 1000 + n, channel * 1000 + n + 500
        right = newer in order and (older not in order or order.index(newer) < order.index(older))
        count.note(question, hits, right=right)
    return count


async def posts(service: MemoryService) -> dict[str, Count]:
    """Ask for forum posts by their titles, and by most words of them: a message of the post has to come first."""
    forum, rows = 300, _read("facts.yaml")["posts"]
    await service.upsert_channels(
        [ChannelInfo(forum, GUILD, "forum", "forum")]
        + [ChannelInfo(forum + 1 + n, GUILD, title, "thread", forum) for n, (title, _, _) in enumerate(rows)]
    )
    start = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
    for n, (_, texts, _) in enumerate(rows):
        channel = forum + 1 + n
        await service.remember(
            [
                _message(
                    channel * 1000 + i, channel, (n + i) % len(PEOPLE), text, start + dt.timedelta(days=n, minutes=i)
                )
                for i, text in enumerate(texts)
            ]
        )
    await service.drain()
    everywhere = [channel.id for channel in await service.channels(GUILD)]
    counts = {"posts, by title": Count(), "posts, by most of it": Count()}
    for n, (title, _, words) in enumerate(rows):
        for count, question in zip(counts.values(), (title, words), strict=True):
            hits = await _ask(service, question, GUILD, everywhere)
            count.note(question, hits, right=bool(hits) and hits[0].message.channel_id == forum + 1 + n)
    return counts


async def measure(profile: str, models: Path) -> dict[str, Count]:
    """Return the counts of every set, asked of a memory with a profile."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(_env_file=None, data_dir=Path(folder), profile=profile, models_dir=models)  # type: ignore[call-arg]
        service = await MemoryService.open(settings)
        try:
            await service.start()
            counts = {"sample server": await sample_server(service)}
            await service.upsert_guild(GUILD, "small sets")
            counts |= await facts(service)
            counts["changed facts"] = await changed(service)
            return counts | await posts(service)
        finally:
            await service.close()


def main(profile: str = "cpu") -> None:
    """Print how often the right message came first in each set."""
    counts = asyncio.run(measure(profile, PROJECT_DIR / "data" / "cache" / "models"))
    for name, count in counts.items():
        print(f"{name}: {count.right} of {count.asked}")
    for name, count in counts.items():
        for line in count.wrong:
            print(f"  {name}: {line}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:2])
