"""Learn when a newer message replaces an older one: ``python -m cogs.lab.search.learn_changes SOURCES``.

From the training parts of the generated chats (English, and thirteen languages) and of the Schema-Guided Dialogue set,
in which stated values change later. Each chat is remembered and asked by the product itself, so the signs are those
that it sees. A pair is the newer statement with the older one of the same fact, or any two other hits of a question;
what is learned is a logistic curve, and from which probability on a pair counts: the least at which no more than
:data:`WRONG` of the questions that are not about a change lose their first place by it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from cogs.lab.datasets.changed_slots import changed_slots
from cogs.lab.datasets.conversations import Conversation, Question
from cogs.lab.datasets.generate_chats import generate_chats
from cogs.lab.datasets.generate_phrases import phrase_chats
from cogs.memory.recall.changes import LOOKED_AT, SIGNS, WEIGHTS_FILE, ChangeWeights, Vector, newest_first, signs
from cogs.memory.recall.pipeline import hit_vectors
from cogs.memory.recall.query import QueryInfo, analyse
from cogs.memory.records import ChannelInfo, Hit, IncomingMessage, RecallRequest, Scope
from cogs.memory.service import MemoryService
from config.settings import PROJECT_DIR, Settings

L2 = 1e-2
WRONG = 0.0
CHATS = 6
GUILD = 1
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """A question with its reranked hits, the messages that answer it, and those that answered it once."""

    info: QueryInfo
    hits: tuple[Hit, ...]
    vectors: dict[int, Vector]
    positives: frozenset[int]
    lesser: frozenset[int]


def pairs(rows: Iterable[Asked]) -> Iterator[tuple[tuple[float, ...], bool]]:
    """Yield the signs of each pair of hits that matters, and whether the newer replaces the older."""
    for row in rows:
        head = row.hits[:LOOKED_AT]
        known = row.positives | row.lesser
        for older in head:
            for newer in head:
                if older.message.created_at < newer.message.created_at and known & {older.message.id, newer.message.id}:
                    # Of a question about the past the answer is the older of the two, and replaced all the same.
                    same = {older.message.id, newer.message.id} <= known and bool(row.lesser)
                    yield signs(row.info, head, older, newer, row.vectors), same


def fit(found: Sequence[tuple[tuple[float, ...], bool]]) -> Floats:
    """Return the weights of a logistic curve over :data:`SIGNS`, both classes weighing the same."""
    inputs = np.array([row for row, _ in found])
    labels = np.array([same for _, same in found])
    share = np.where(labels, 0.5 / max(1, labels.sum()), 0.5 / max(1, (~labels).sum()))

    def loss(weights: Floats) -> float:
        z = inputs @ weights
        return float((share * np.logaddexp(0, np.where(labels, -z, z))).sum() + L2 * (weights[1:] @ weights[1:]) / 10)

    return np.asarray(minimize(loss, np.zeros(len(SIGNS)), method="L-BFGS-B").x, dtype=np.float64)


def outcome(rows: Sequence[Asked], weights: ChangeWeights) -> tuple[float, float]:
    """Return the share of changed facts whose answer stands above all that it replaced, and that of others lost."""
    changed: list[float] = []
    lost: list[float] = []
    for row in rows:
        order = [hit.message.id for hit in newest_first(row.info, row.hits, row.vectors, weights)]
        before = [hit.message.id for hit in row.hits]
        if row.lesser & set(order) and row.positives & set(order):
            first = min(order.index(i) for i in row.positives & set(order))
            changed.append(float(all(order.index(i) > first for i in row.lesser & set(order))))
        elif before and before[0] in row.positives:
            lost.append(float(order[0] not in row.positives))
    return float(np.mean(changed or [0.0])), float(np.mean(lost or [0.0]))


def learn(rows: Sequence[Asked]) -> ChangeWeights:
    """Return the weights, with the least probability that loses hardly any other question's first place."""
    weights = tuple(fit(list(pairs(rows))).tolist())
    for least in np.arange(0.5, 0.99, 0.01):
        found = ChangeWeights(weights, round(float(least), 2))
        if outcome(rows, found)[1] <= WRONG:
            return found
    return ChangeWeights(weights, 0.99)


def conversations(sources: Path) -> Iterator[tuple[Conversation, dict[str, tuple[str, ...]]]]:
    """Yield the training chats, each with what answered a question once and does no longer."""
    for told in phrase_chats(CHATS, "train", 11):
        yield told.conversation, dict(told.lesser)
    for chat in generate_chats(CHATS, "train", 11):
        yield chat, {q.id: q.ignored for q in chat.questions if q.category == "chat-fact"}
    for number, told in enumerate(changed_slots(sources, "train")):
        if number % 12 == 0 and number < 12 * CHATS:
            yield told.conversation, dict(told.lesser)


async def asked(sources: Path, profile: str) -> list[Asked]:
    """Remember the chats and ask their questions as the product does."""
    rows: list[Asked] = []
    with tempfile.TemporaryDirectory() as folder:
        models = PROJECT_DIR / "data" / "cache" / "models"
        settings = Settings(_env_file=None, data_dir=Path(folder), profile=profile, models_dir=models)  # type: ignore[call-arg]
        service = await MemoryService.open(settings)
        try:
            await service.start()
            await service.upsert_guild(GUILD, "chats")
            for number, (chat, lesser) in enumerate(conversations(sources)):
                rows += await _asked(service, number + 10, chat, lesser)
        finally:
            await service.close()
    return rows


async def _asked(
    service: MemoryService, channel: int, chat: Conversation, lesser: dict[str, tuple[str, ...]]
) -> list[Asked]:
    ids = {turn.id: channel * 100_000 + place for place, turn in enumerate(chat.turns)}
    people = {author: channel * 1_000 + n for n, author in enumerate(sorted({t.author for t in chat.turns}))}
    times = [dt.datetime.fromisoformat(turn.timestamp or "2024-01-01T00:00:00+00:00") for turn in chat.turns]
    messages = [
        IncomingMessage(
            ids[t.id], GUILD, channel, people[t.author], t.author, t.text, when, reply_to_id=ids.get(t.reply_to or "")
        )
        for t, when in zip(chat.turns, times, strict=True)
    ]
    await service.upsert_channels([ChannelInfo(channel, GUILD, "chat")])
    await service.remember(messages)
    await service.drain()
    return [
        await _ask(service, channel, q, ids, people, times[-1], lesser.get(q.id, ()))
        for q in chat.questions
        if q.positives
    ]


async def _ask(
    service: MemoryService,
    channel: int,
    question: Question,
    ids: dict[str, int],
    people: dict[str, int],
    now: dt.datetime,
    lesser: Sequence[str],
) -> Asked:
    """Ask one question.

    Args:
        service: The memory.
        channel: Where to look.
        question: What to ask.
        ids: The message of each turn.
        people: Who wrote there.
        now: When it is asked.
        lesser: The turns that answered it once.
    """
    result = await service.recall(
        RecallRequest(question.text, Scope.of(GUILD, [channel]), limit=20, asked_at=now, explain=True)
    )
    judged = dict(result.stages["judged"])
    hits = [replace(hit, rerank_score=judged[hit.message.id]) for hit in result.hits if hit.message.id in judged]
    ordered = tuple(sorted(hits, key=lambda hit: -(hit.rerank_score or 0.0)))
    with service.slot.acquire() as loadout:
        vectors = hit_vectors(service.repository, loadout.embedder.model_key, ordered[:LOOKED_AT])
    return Asked(
        analyse(question.text, sorted(people), now),
        ordered,
        vectors,
        frozenset(ids[turn] for turn in question.positives),
        frozenset(ids[turn] for turn in lesser),
    )


def write(found: ChangeWeights, file: Path = WEIGHTS_FILE) -> None:
    """Write learned weights."""
    weights = {sign: round(weight, 4) for sign, weight in zip(SIGNS, found.weights, strict=True)}
    about = "When a newer message replaces an older one; learned by cogs/lab/search/learn_changes.py."
    file.write_text(
        json.dumps(
            {"about": about, "weights": weights, "least": found.least, "least_of_the_past": found.least_of_the_past},
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )


def main(sources: Path, profile: str = "cpu") -> None:
    """Learn from the training parts and write the weights that the product reads."""
    rows = asyncio.run(asked(sources, profile))
    found = learn(rows)
    write(found)
    changed, lost = outcome(rows, found)
    print(
        f"{len(rows):,} questions: the newer above the older in {changed:.1%}, of others {lost:.2%} lost",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
