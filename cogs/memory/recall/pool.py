"""What fusion reads: the candidates of a question, what stands around them, and the threads they stand in. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cogs.memory.recall.query import QueryInfo
from cogs.memory.storage.bm25 import K1, B
from cogs.memory.text.terms import STOP_WORDS

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

MOST_OF_A_TITLE = 0.5
"""A query calls a thread by its title where it holds this share of the title's telling words."""


class FusionMessage(NamedTuple):
    """What fusion reads of a message; hundreds are made for each question.

    ``body`` are the terms of its words alone, with spaces between them; ``cosine`` is to the query. A message that is
    only a neighbour needs its body, its cosine, its author and its text.
    """

    body: str
    cosine: float
    author: str = ""
    text: str = ""
    created_ms: int | None = None
    reply_to: int | None = None
    channel: int = 0

    @property
    def length(self) -> int:
        """How many terms it has."""
        return self.body.count(" ") + 1 if self.body else 0

    def holds_any(self, terms: Collection[str]) -> bool:
        """Return whether it holds one of these terms."""
        return any(term in self.body for term in terms) and not set(terms).isdisjoint(self.body.split())


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread or forum post: the terms of its title and tags with spaces between them, and its first message.

    ``match`` is the share of the title's telling words that the query holds, 0 where it holds less than most of them.
    """

    body: str
    starter: int | None = None
    match: float = 0.0


@dataclass(frozen=True)
class Pool:
    """Candidates with what stands around them.

    ``previous`` and ``following`` map a message to the one before and after it in its channel, as far as is known;
    ``threads`` maps the id of a channel to the thread that it is.
    """

    candidates: Sequence[int]
    passages: Mapping[int, FusionMessage]
    previous: Mapping[int, int]
    following: Mapping[int, int]
    threads: Mapping[int, Thread] = field(default_factory=dict)

    def before(self, message_id: int, steps: int) -> Iterator[int]:
        """Yield up to so many messages before one, the nearest first."""
        for _ in range(steps):
            found = self.previous.get(message_id)
            if found is None:
                return
            yield found
            message_id = found


def with_cosines(pool: Pool, cosines: Mapping[int, float]) -> Pool:
    """Return the pool with the cosines of its messages; one that still waits for its vector is neither near nor far."""
    usual = sum(cosines.values()) / len(cosines) if cosines else 0.0
    passages = {i: passage._replace(cosine=cosines.get(i, usual)) for i, passage in pool.passages.items()}
    return replace(pool, passages=passages)


def title_match(asked: Collection[str], title: Collection[str]) -> float:
    """Return how well the terms of a query call a title, 0 to 1: 0 where they hold less than half of it.

    A title of one word is called by many questions that do not mean it, so it counts half.
    """
    telling = {term for term in title if term not in STOP_WORDS} or set(title)
    share = len(telling & set(asked)) / len(telling) if telling else 0.0
    return share * (1.0 if len(telling) > 1 else 0.5) if share >= MOST_OF_A_TITLE else 0.0


class Lexical:
    """The query's words against the pool: rarity is measured among the candidates, so any database serves.

    Args:
        info: the query.
        passages: the words of candidates, neighbours and titles; a row of zeros follows them, for what is not there.
        candidates: the rows of the candidates.
    """

    def __init__(self, info: QueryInfo, passages: Sequence[str], candidates: Rows) -> None:
        terms = list(dict.fromkeys(info.telling))
        counts = np.zeros((len(passages) + 1, len(terms)))
        for column, term in enumerate(terms):
            for row in [row for row, body in enumerate(passages) if term in body]:  # perhaps as a part
                counts[row, column] = passages[row].split().count(term)
        size = len(candidates)
        self._held = counts > 0
        frequency = self._held[candidates].sum(axis=0)
        self._idf = np.log(1 + (size - frequency + 0.5) / (frequency + 0.5))
        self._total = float(self._idf.sum()) or 1.0
        lengths = np.array([body.count(" ") + 1 for body in passages] + [1], dtype=np.float64)
        norm = K1 * (1 - B + B * lengths / lengths[candidates].mean())
        scores = (self._idf * counts * (K1 + 1) / (counts + norm[:, None])).sum(axis=1)
        self.keyword: Floats = scores / (scores[candidates].max(initial=0.0) or 1.0)

    def coverage(self, *rows: Rows) -> Floats:
        """Return the share of the words that the messages in these rows hold together, by rarity."""
        held = np.logical_or.reduce([self._held[part] for part in rows])
        share: Floats = held @ self._idf / self._total
        return share


def rarity(count: int, size: int) -> float:
    """Return 1 for what one candidate has, 0 for what all have."""
    return 0.0 if size < 2 or not count else math.log(size / count) / math.log(size)
