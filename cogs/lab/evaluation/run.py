"""Measure the product on a data set: its own ingestion, search and rerank, through the memory service alone."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cogs.lab.datasets.dataset import Dataset, DatasetMessage, DatasetQuery
from cogs.memory.errors import MnemeError
from cogs.memory.inference.profiles import load_profiles
from cogs.memory.recall.limits import QUERY_CHARACTERS
from cogs.memory.records import ChannelInfo, IncomingMessage, RecallRequest, RecallResult, Scope, Turn
from cogs.memory.service import MemoryService
from config.settings import Settings

STAGES = ("keyword", "semantic", "fused", "reranked")
GUILD = 1
TOP = 50
BATCH = 1000
UNDATED = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
"""When a conversation without times begins; its messages are a minute apart."""
PATIENCE_MS = 600_000
"""The deadline of models here: what a busy machine cannot do in time must not be measured as poor quality."""
_SECONDS = {
    "keyword": ("keyword",),
    "semantic": ("embed", "semantic"),
    "fused": ("embed", "keyword", "semantic", "fuse"),
    "reranked": ("embed", "keyword", "semantic", "fuse", "rerank"),
}
Progress = Callable[[str, int, int], None]


class NothingToMeasure(MnemeError):
    """The data set or the reranker that was named cannot be measured; the sentence says why."""


@dataclass(frozen=True)
class Options:
    """``profile`` None is the first that this machine can run; ``reranker`` None is the profile's own, "none" is none.

    ``turns`` passes on the conversation in which a query stands. ``limit`` measures that many queries, evenly spread.
    ``top`` is how many hits each asks for: what a profile with an early exit leaves out depends on it.
    """

    profile: str | None = None
    reranker: str | None = None
    turns: bool = True
    limit: int | None = None
    top: int = TOP


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the reranker saw of one message: its raw score, its probability, the first stage's, its words, the truth."""

    raw: float
    probability: float
    prior: float
    words: int
    relevant: bool


@dataclass(frozen=True, slots=True)
class Scored:
    """The candidates of one question; ``relevant`` counts its relevant messages, found or not."""

    candidates: tuple[Candidate, ...]
    relevant: int


@dataclass
class Run:
    """What came out for one data set.

    ``rankings`` maps a stage to ``{query: message ids, best first}``, ``seconds`` to the seconds of each query.
    ``scored`` holds what the reranker said of the messages that it saw, by question.
    ``degraded`` counts queries whose order is not the reranker's though there is one.
    """

    dataset: Dataset
    queries: tuple[DatasetQuery, ...]
    profile: str = ""
    embedder: str = ""
    reranker: str | None = None
    ingest_seconds: float = 0.0
    degraded: int = 0
    rankings: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {stage: {} for stage in STAGES})
    seconds: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    scored: list[Scored] = field(default_factory=list)

    @property
    def probabilities(self) -> list[tuple[float, bool]]:
        """The reranker's probabilities of all messages that it saw, with whether each is relevant."""
        return [(row.probability, row.relevant) for scored in self.scored for row in scored.candidates]

    @property
    def qrels(self) -> dict[str, Mapping[str, int]]:
        """The judgements of the queries that were asked."""
        return {query.id: self.dataset.qrels[query.id] for query in self.queries}


@dataclass(frozen=True)
class Placed:
    """A data set as a server: numbers for its ids, channels and people."""

    messages: tuple[IncomingMessage, ...]
    channels: Mapping[str, int]
    names: Mapping[int, str]
    last: Mapping[str, dt.datetime]


def place(dataset: Dataset) -> Placed:
    """Return a data set as messages of one server, each channel in the order of time.

    A message without a time stands right after the one before it; ids rise in that order, whatever the files call them.
    """
    by_channel: dict[str, list[DatasetMessage]] = {}
    for message in dataset.messages:
        by_channel.setdefault(message.channel, []).append(message)
    channels = {name: GUILD + 1 + number for number, name in enumerate(by_channel)}
    ordered: list[tuple[DatasetMessage, dt.datetime]] = []
    last: dict[str, dt.datetime] = {}
    for name, rows in by_channel.items():
        timed = _timed(rows)
        ordered += timed
        last[name] = timed[-1][1]
    numbers = {message.id: 1_000_000 + position for position, (message, _) in enumerate(ordered)}
    people: dict[str, int] = {}
    messages = tuple(
        IncomingMessage(
            id=numbers[message.id],
            guild_id=GUILD,
            channel_id=channels[message.channel],
            author_id=people.setdefault(message.author, 100_000_000 + len(people)),
            author_name=message.author,
            content=message.text,
            created_at=moment,
            reply_to_id=None if message.reply_to is None else numbers.get(message.reply_to),
            kind="default" if message.reply_to is None else "reply",
        )
        for message, moment in ordered
    )
    return Placed(messages, channels, {number: name for name, number in numbers.items()}, last)


def _timed(rows: Sequence[DatasetMessage]) -> list[tuple[DatasetMessage, dt.datetime]]:
    first = next((row.timestamp for row in rows if row.timestamp is not None), None)
    step = dt.timedelta(minutes=1) if first is None else dt.timedelta(0)
    now = (UNDATED - step) if first is None else first
    timed = []
    for row in rows:
        now = now + step if row.timestamp is None else row.timestamp
        timed.append((row, now))
    # Stable: messages of the same second stay in the order of the file.
    return sorted(timed, key=lambda pair: pair[1])


async def evaluate(settings: Settings, dataset: Dataset, options: Options, progress: Progress | None = None) -> Run:
    """Remember a data set in a temporary folder, ask its queries, and return every stage's order.

    Args:
        settings: Where models and profiles come from; nothing of its database is read or written.
        dataset: The messages, queries and judgements.
        options: What to run.
        progress: Told of the step, how much of it is done, and how much there is.

    Raises:
        NothingToMeasure: no query has a relevant message, or the reranker cannot be loaded.
        ProfileError: there is no such profile, or it cannot run here.
    """
    queries = _spread(dataset.judged(), options.limit)
    if not queries:
        raise NothingToMeasure(f"{dataset.name} has no query with a relevant message, so there is nothing to measure.")
    report = progress or (lambda step, done, total: None)
    with tempfile.TemporaryDirectory(prefix="mneme-evaluate-") as folder:
        service = await MemoryService.open(_settings(settings, Path(folder), options))
        try:
            await service.start()
            run = Run(dataset, queries)
            await _describe(service, run, options)
            placed = place(dataset)
            run.ingest_seconds = await _remember(service, dataset.name, placed, report)
            for number, query in enumerate(queries):
                report("queries", number, len(queries))
                _note(run, query, placed, await _ask(service, query, placed, options))
            report("queries", len(queries), len(queries))
            return run
        finally:
            await service.close()


def _spread(queries: Sequence[DatasetQuery], limit: int | None) -> tuple[DatasetQuery, ...]:
    if limit is None or limit >= len(queries):
        return tuple(queries)
    return tuple(queries[i * len(queries) // limit] for i in range(limit))


def _settings(settings: Settings, folder: Path, options: Options) -> Settings:
    profiles = load_profiles(settings.profiles_file)
    changes: dict[str, object] = {"deadline_ms": PATIENCE_MS}
    if options.reranker is not None:
        changes["reranker"] = None if options.reranker == "none" else options.reranker
    rows = {
        name: profile.model_copy(update=changes).model_dump(exclude={"name"}, mode="json")
        for name, profile in profiles.items()
    }
    table = folder / "profiles.yaml"
    table.write_text(yaml.safe_dump(rows, sort_keys=False), encoding="utf-8")
    return settings.model_copy(
        update={
            "data_dir": folder / "data",
            "models_dir": settings.models_folder,
            "database_url": None,
            "remember": "all",
            "profile": options.profile or settings.profile,
            "profiles_file": table,
        }
    )


async def _describe(service: MemoryService, run: Run, options: Options) -> None:
    status = await service.status()
    run.profile, run.embedder, run.reranker = status.profile, status.embedder, status.reranker
    wanted = service.profile_table[status.profile].reranker
    if wanted is not None and status.reranker is None:
        raise NothingToMeasure(f"The reranker {wanted} cannot be measured: {status.degraded}")


async def _remember(service: MemoryService, name: str, placed: Placed, report: Progress) -> float:
    started = dt.datetime.now(dt.UTC)
    await service.upsert_guild(GUILD, name)
    await service.upsert_channels(
        [ChannelInfo(number, GUILD, channel or "messages") for channel, number in placed.channels.items()]
    )
    total, done = len(placed.messages), 0
    report("messages", 0, total)
    for start in range(0, total, BATCH):
        part = placed.messages[start : start + BATCH]
        await service.remember(part)
        await service.drain()
        done += len(part)
        report("messages", done, total)
    return (dt.datetime.now(dt.UTC) - started).total_seconds()


async def _ask(service: MemoryService, query: DatasetQuery, placed: Placed, options: Options) -> RecallResult | None:
    # Longer questions are cut as a reply cuts them; the rest of what the service refuses finds nothing.
    text = query.text[:QUERY_CHARACTERS].strip()
    channels = list(placed.channels.values()) if query.channel is None else _numbers(placed, query.channel)
    if not any(character.isprintable() and not character.isspace() for character in text) or not channels:
        return None
    newest = max((moment for name, moment in placed.last.items() if placed.channels[name] in channels), default=None)
    return await service.recall(
        RecallRequest(
            text,
            Scope.of(GUILD, channels),
            limit=options.top,
            turns=tuple(Turn(author, said) for author, said in query.turns) if options.turns else (),
            asked_at=query.asked_at or newest,
            explain=True,
        )
    )


def _numbers(placed: Placed, channel: str) -> list[int]:
    number = placed.channels.get(channel)
    return [] if number is None else [number]


def _note(run: Run, query: DatasetQuery, placed: Placed, result: RecallResult | None) -> None:
    for stage in STAGES:
        found = [] if result is None else result.stages[stage]
        run.rankings[stage][query.id] = [placed.names[message_id] for message_id, _ in found]
        spent = 0.0 if result is None else sum(result.seconds.get(part, 0.0) for part in _SECONDS[stage])
        run.seconds[stage].append(spent)
    if result is None:
        return
    run.degraded += run.reranker is not None and result.reranker is None
    relevant = run.dataset.qrels[query.id]
    priors = dict(result.stages["fused"])
    candidates = tuple(
        Candidate(
            hit.raw_score or 0.0,
            hit.rerank_score,
            priors.get(hit.message.id, 0.0),
            len(hit.message.content.split()),
            relevant.get(placed.names[hit.message.id], 0) > 0,
        )
        for hit in result.hits
        if hit.rerank_score is not None
    )
    if candidates:
        run.scored.append(Scored(candidates, sum(score > 0 for score in relevant.values())))
