"""Known-item search by words on SQLite and PostgreSQL: is the message that a question was made of among the first ten?

A question is five words of a message (a few characters of one that is written without spaces), asked within its server.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from cogs.bench import chatter
from cogs.memory.records import ChannelInfo, Filters, IncomingMessage, Scope
from cogs.memory.storage.repository import Repository
from cogs.memory.text.terms import keyword_query

SERVERS: Final = 20
CHANNELS: Final = 20
QUESTIONS: Final = 120
FIRST: Final = 10
DEPTH: Final = 150
UNSPACED_EVERY: Final = 8
"""One message in so many is Chinese."""
BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class KnownItems:
    """What was found: shares of all questions and of the Chinese ones, and milliseconds a question."""

    database: str
    messages: int
    questions: int
    first_ten: float
    first_ten_unspaced: float
    depth: float
    median_ms: float
    p95_ms: float
    commit_seconds: float


def corpus(count: int, servers: int = SERVERS) -> Iterator[IncomingMessage]:
    """Yield messages in turn over the servers, each with channels of its own."""
    rng = random.Random(23)
    for number, message in enumerate(chatter.messages(count, CHANNELS)):
        server = number % servers
        text = _unspaced(rng) if number % UNSPACED_EVERY == 0 else message.content
        yield replace(
            message,
            guild_id=chatter.GUILD + server,
            channel_id=message.channel_id + server * CHANNELS,
            content=text,
            reply_to_id=None,
        )


def _unspaced(rng: random.Random) -> str:
    return "".join(chr(0x4E00 + min(3_000, int(rng.paretovariate(0.6)) - 1)) for _ in range(rng.randint(8, 40)))


def questions(messages: Sequence[IncomingMessage], count: int = QUESTIONS) -> list[tuple[IncomingMessage, str]]:
    """Return messages with what somebody asks who remembers a part of one; one in six is Chinese."""
    rng = random.Random(29)
    spaced = [m for m in messages if m.content.isascii() and len(m.content.split()) >= 8]
    unspaced = [m for m in messages if not m.content[0].isascii()]
    asked = []
    for number in range(count):
        if number % 6 == 0 and unspaced:
            message = rng.choice(unspaced)
            start = rng.randrange(len(message.content) - 5)
            asked.append((message, message.content[start : start + 6]))
        else:
            message = rng.choice(spaced)
            asked.append((message, " ".join(rng.sample(message.content.split(), 5))))
    return asked


def fill(repository: Repository, messages: Sequence[IncomingMessage]) -> float:
    """Store the messages; return the seconds it took."""
    started = time.perf_counter()
    for guild_id in sorted({m.guild_id for m in messages}):
        repository.guilds.upsert(guild_id, "generated")
    channels = sorted({(m.channel_id, m.guild_id) for m in messages})
    repository.guilds.upsert_channels([ChannelInfo(channel, guild, "generated") for channel, guild in channels])
    for start in range(0, len(messages), BATCH):
        repository.messages.save(messages[start : start + BATCH])
    return time.perf_counter() - started


def ask(
    repository: Repository, messages: Sequence[IncomingMessage], asked: Sequence[tuple[IncomingMessage, str]]
) -> KnownItems:
    """Ask every question once to get warm, then once for the clock."""
    channels: dict[int, set[int]] = {}
    for message in messages:
        channels.setdefault(message.guild_id, set()).add(message.channel_id)
    scopes = {guild: Scope({guild: frozenset(ids)}) for guild, ids in channels.items()}
    ranks: list[int] = []
    seconds: list[float] = []
    for warm in (True, False):
        for message, text in asked:
            started = time.perf_counter()
            found = repository.keywords.candidates(keyword_query(text), scopes[message.guild_id], Filters(), DEPTH)
            if not warm:
                seconds.append(time.perf_counter() - started)
                ids = [number for number, _ in found]
                ranks.append(ids.index(message.id) if message.id in ids else DEPTH)
    unspaced = [rank for rank, (message, _) in zip(ranks, asked, strict=True) if not message.content[0].isascii()]
    return KnownItems(
        database=repository.database.engine.dialect.name,
        messages=len(messages),
        questions=len(asked),
        first_ten=sum(rank < FIRST for rank in ranks) / len(ranks),
        first_ten_unspaced=sum(rank < FIRST for rank in unspaced) / max(1, len(unspaced)),
        depth=sum(rank < DEPTH for rank in ranks) / len(ranks),
        median_ms=round(1000 * statistics.median(seconds), 2),
        p95_ms=round(1000 * statistics.quantiles(seconds, n=20)[-1], 2),
        commit_seconds=0.0,
    )


def measure(url: str, messages: Sequence[IncomingMessage], folder: Path) -> KnownItems:
    """Fill an empty database, let PostgreSQL look at it, and ask.

    Raises:
        StorageError: the database cannot be opened.
    """
    repository = Repository.open(url, folder)
    try:
        took = fill(repository, messages)
        repository.database.analyze()
        return replace(ask(repository, messages, questions(messages)), commit_seconds=round(took, 1))
    finally:
        repository.close()


def run(count: int, url: str | None, say: Callable[[str], None]) -> list[dict[str, object]]:
    """Measure SQLite, and PostgreSQL where ``url`` names an empty database; return a row for each."""
    messages = list(corpus(count))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        say(f"SQLite: {count:,} messages")
        found.append(asdict(measure(f"sqlite:///{folder}/mneme.db", messages, Path(folder))))
        if url is not None:
            say(f"PostgreSQL: {count:,} messages")
            found.append(asdict(measure(url, messages, Path(folder))))
    return found
