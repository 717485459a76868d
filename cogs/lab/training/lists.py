"""Training lists: a question, its evidence, and the wrong turns that a first stage would have put beside it."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question
from cogs.lab.search.first_stage import Array, Embedder, Stages, score_questions
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.chat_text import passages, render_chat


@dataclass(frozen=True, slots=True)
class RankingList:
    """A query, its rendered documents with the evidence first, and the first stage's score of each in [0, 1]."""

    query: str
    documents: tuple[str, ...]
    teacher: tuple[float, ...]
    source: str


def document(conversation: Conversation, turn: ChatTurn, *, dated: bool = True) -> Document:
    """Return the turn as the product hands it to a reranker: with its author, its time and what it replies to."""
    replied = (
        next((other for other in conversation.turns if other.id == turn.reply_to), None) if turn.reply_to else None
    )
    return Document(
        text=turn.text,
        author=turn.author or None,
        channel=conversation.id,
        timestamp=dt.datetime.fromisoformat(turn.timestamp) if turn.timestamp and dated else None,
        context=f"{replied.author}: {replied.text}" if replied else None,
    )


def mine(
    conversation: Conversation,
    embedder: Embedder,
    rng: random.Random,
    *,
    source: str,
    negatives: int = 7,
    pool: int = 24,
    evidence: int = 2,
) -> Iterator[RankingList]:
    """Yield one list for each of up to ``evidence`` positives of every question of the conversation.

    Negatives are drawn from the ``pool`` best wrong turns of the fused, keyword and semantic orders (the best ones
    more often), then a neighbour of the evidence, then any turn, so that easy ones are not forgotten.

    Args:
        conversation: turns, and questions with their evidence.
        embedder: what makes the semantic order.
        rng: draws the negatives.
        source: the name of the data set, kept with each list.
        negatives: wrong turns of each list.
        pool: from how many of the best wrong turns they are drawn.
        evidence: positives of a question at most.
    """
    if not conversation.questions:
        return
    places = {turn.id: place for place, turn in enumerate(conversation.turns)}
    for question, stages in zip(conversation.questions, score_questions(conversation, embedder), strict=True):
        wrong = _wrong(conversation, question)
        positives = [places[turn_id] for turn_id in question.positives]
        # Wide, weak evidence: the passages that the first stage also likes are the likeliest to be true.
        positives = sorted(positives, key=lambda place: -float(stages.fused[place]))[: max(evidence, 1)]
        dated = rng.random() < 0.8
        for place in positives if len(question.positives) > 3 else positives[:evidence]:
            chosen = _draw(wrong, place, stages, rng, negatives, pool)
            if len(chosen) < min(negatives, 1):
                continue
            rows = [place, *chosen]
            yield RankingList(
                question.text,
                tuple(_shown(conversation, conversation.turns[row], question.text, embedder, dated) for row in rows),
                tuple(round(float(stages.fused[row]), 4) for row in rows),
                source,
            )


def _shown(conversation: Conversation, turn: ChatTurn, query: str, embedder: Embedder, dated: bool) -> str:
    """Render the turn as the product does, a long one by the passage nearest to the question: the product's score of it
    is its best passage's, and what lies beyond the trainer's limit could teach nothing."""
    parts = passages(query, document(conversation, turn, dated=dated))
    best = 0
    if len(parts) > 1:
        vectors = embedder.encode([query, *(part.text for part in parts)])
        best = int(np.argmax(vectors[1:] @ vectors[0]))
    return render_chat(parts[best])


def read_lists(path: Path) -> list[RankingList]:
    """Read one JSON object a line."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [RankingList(row["query"], tuple(row["documents"]), tuple(row["teacher"]), row["source"]) for row in rows]


def _wrong(conversation: Conversation, question: Question) -> list[int]:
    excluded = {*question.positives, *question.ignored}
    if question.negatives:
        known = set(question.negatives)
        return [place for place, turn in enumerate(conversation.turns) if turn.id in known]
    return [place for place, turn in enumerate(conversation.turns) if turn.id not in excluded]


def _draw(wrong: list[int], place: int, stages: Stages, rng: random.Random, count: int, pool: int) -> list[int]:
    if len(wrong) <= count:
        return wrong
    chosen: list[int] = []
    hard = {"fused": count * 3 // 7, "keyword": count // 7, "semantic": count // 7}
    for name, share in hard.items():
        chosen += _weighted(getattr(stages, name), [row for row in wrong if row not in chosen], rng, share, pool)
    near = [row for row in wrong if 0 < abs(row - place) <= 3 and row not in chosen]
    chosen += rng.sample(near, min(1, len(near)))
    rest = [row for row in wrong if row not in chosen]
    return chosen + rng.sample(rest, min(len(rest), count - len(chosen)))


def _weighted(scores: Array, rows: list[int], rng: random.Random, count: int, pool: int) -> list[int]:
    best = sorted(rows, key=lambda row: -float(scores[row]))[:pool]
    keyed = [
        (rng.random() ** (1.0 + 3.0 * np.arange(len(best))[i] / max(1, len(best))), row) for i, row in enumerate(best)
    ]
    return [row for _, row in sorted(keyed, reverse=True)[:count]]
