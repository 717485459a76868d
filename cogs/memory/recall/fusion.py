"""Fusion: one order for the candidates of both searches, by a learned weighted sum of cheap signals. Pure.

The signals look at a candidate, at the query, and at the messages before and after the candidate, because an answer
often stands next to the words that were asked for. The weights are data (``data/models/fusion.json``), learned by
``python -m cogs.lab.search.learn_fusion``; ``data/evaluation/search.md`` compares them with other ways of fusing.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cogs.memory.recall.query import QueryInfo
from cogs.memory.storage.bm25 import K1, B
from config.settings import PROJECT_DIR

Floats = npt.NDArray[np.float64]
WEIGHTS_FILE = PROJECT_DIR / "data" / "models" / "fusion.json"
LONGEST = 30
"""Terms beyond this many make a message no more telling."""
_TIME = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|last|next|ago|week|weekend|month|year|since|(?:mon|tues|wednes|thurs|fri|"
    r"satur|sun)day|january|february|march|april|june|july|august|september|october|november|december|"
    r"(?:19|20)\d\d)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\b(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|thousand|couple|few)\b", re.IGNORECASE
)
_ASKS_TIME = re.compile(r"\b(?:when|how long|(?:what|which) (?:day|date|time|year|month|week))\b", re.IGNORECASE)
_ASKS_NUMBER = re.compile(r"\b(?:how (?:many|much|old)|what number)\b", re.IGNORECASE)
_FIRST_PERSON = re.compile(r"\b(?:i|my|me|mine|we|our|us)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fused:
    """A candidate with its score in [0, 1]."""

    message_id: int
    score: float


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

    @property
    def length(self) -> int:
        """How many terms it has."""
        return self.body.count(" ") + 1 if self.body else 0

    def holds_any(self, terms: Collection[str]) -> bool:
        """Return whether it holds one of these terms."""
        return any(term in self.body for term in terms) and not set(terms).isdisjoint(self.body.split())


@dataclass(frozen=True)
class Pool:
    """Candidates with their neighbours: ``beside`` maps a candidate to the messages before and after it."""

    candidates: Sequence[int]
    passages: Mapping[int, FusionMessage]
    beside: Mapping[int, tuple[int | None, int | None]]


SIGNALS = (
    "keyword",  # BM25 of the telling terms that are no names, of the best candidate's
    "coverage",  # the share of those terms that it holds, by rarity
    "coverage_beside",  # the same with its neighbours
    "cosine",
    "author_named",  # the query names who wrote it
    "author_rarity",  # and how much that narrows things down
    "other_author",  # the query names somebody else
    "mention",  # it mentions a person that the query names
    "mention_rarity",
    "named_first_person",  # a person that the query names speaks of themselves
    "keyword_before",
    "keyword_after",
    "cosine_before",
    "cosine_after",
    "author_beside",
    "length",
    "question",
    "after_question",
    "time_asked",  # the query asks when, and it speaks of time
    "number_asked",
    "in_period",  # it was written in the time that the query speaks of
)


@dataclass(frozen=True)
class FusionWeights:
    """One weight per signal; ``scale`` and ``bias`` turn their sum into a probability."""

    weights: Mapping[str, float]
    scale: float = 1.0
    bias: float = 0.0

    def vector(self) -> Floats:
        """Return the weights in the order of :data:`SIGNALS`; what is not named weighs nothing."""
        return np.array([self.weights.get(name, 0.0) for name in SIGNALS])


@cache
def load_weights(path: Path = WEIGHTS_FILE) -> FusionWeights:
    """Read learned weights.

    Raises:
        ValueError: the file names a signal that does not exist.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    unknown = set(found["weights"]) - set(SIGNALS)
    if unknown:
        raise ValueError(f"{path.name} names signals that do not exist: {', '.join(sorted(unknown))}")
    return FusionWeights(found["weights"], found["scale"], found["bias"])


def fuse(info: QueryInfo, pool: Pool, weights: FusionWeights | None = None) -> list[Fused]:
    """Return the candidates by their learned score, the best first; of equal scores the newer first."""
    if not pool.candidates:
        return []
    weights = weights or load_weights()
    total = signals(info, pool) @ weights.vector()
    scores = 1 / (1 + np.exp(-np.clip(weights.scale * total + weights.bias, -30, 30)))
    ordered = sorted(zip(pool.candidates, scores.tolist(), strict=True), key=lambda pair: (-pair[1], -pair[0]))
    return [Fused(message_id, score) for message_id, score in ordered]


def signals(info: QueryInfo, pool: Pool) -> Floats:
    """Return the signals of each candidate, shape (candidates, signals)."""
    place = {message_id: row for row, message_id in enumerate(pool.passages)}
    everything = list(pool.passages.values())
    rows = np.array([place[i] for i in pool.candidates], dtype=np.intp)
    passages = [everything[row] for row in rows.tolist()]
    nobody = len(everything)  # the row of a neighbour that is not there: no words, no meaning, no author
    beside = [pool.beside.get(i, (None, None)) for i in pool.candidates]
    before, after = (
        np.array([place.get(pair[side] or 0, nobody) for pair in beside], dtype=np.intp)  # no message has the id 0
        for side in (0, 1)
    )
    lexical = _Lexical(info, everything, rows)
    cosine = np.array([p.cosine for p in everything] + [0.0])
    by_named = np.array([p.author in info.names for p in everything] + [False], dtype=np.float64)
    question = np.array([p.text.rstrip().endswith("?") for p in everything] + [False], dtype=np.float64)
    authors = Counter(p.author for p in passages)
    named = by_named[rows]
    mention = np.array([p.holds_any(info.name_terms) for p in passages], dtype=np.float64)
    since, until = (0, 0) if info.during is None else (round(moment.timestamp() * 1000) for moment in info.during)
    asks_time = _ASKS_TIME.search(info.query) is not None
    asks_number = _ASKS_NUMBER.search(info.query) is not None
    columns: dict[str, Sequence[float] | Floats] = {
        "keyword": lexical.keyword[rows],
        "coverage": lexical.coverage(rows),
        "coverage_beside": lexical.coverage(rows, before, after),
        "cosine": cosine[rows],
        "author_named": named,
        "author_rarity": named * [_rarity(authors[p.author], len(passages)) for p in passages],
        "other_author": (1 - named) if info.names else np.zeros(len(passages)),
        "mention": mention,
        "mention_rarity": mention * _rarity(int(mention.sum()), len(passages)),
        "named_first_person": [
            float(p.author in info.names and _FIRST_PERSON.search(p.text) is not None) for p in passages
        ],
        "keyword_before": lexical.keyword[before],
        "keyword_after": lexical.keyword[after],
        "cosine_before": cosine[before],
        "cosine_after": cosine[after],
        "author_beside": np.maximum(by_named[before], by_named[after]),
        "length": [math.log1p(min(LONGEST, p.length)) for p in passages],
        "question": question[rows],
        "after_question": question[before],
        "time_asked": [float(asks_time and _TIME.search(p.text) is not None) for p in passages],
        "number_asked": [float(asks_number and _NUMBER.search(p.text) is not None) for p in passages],
        "in_period": [float(since <= (p.created_ms or 0) < until) for p in passages],
    }
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in SIGNALS], axis=1)


class _Lexical:
    """The query's words against the pool: rarity is measured among the candidates, so any database serves.

    Args:
        passages: candidates and neighbours; a row of zeros follows them, for a neighbour that is not there.
        candidates: the rows of the candidates.
    """

    def __init__(self, info: QueryInfo, passages: Sequence[FusionMessage], candidates: npt.NDArray[np.intp]) -> None:
        terms = list(dict.fromkeys(info.telling))
        counts = np.zeros((len(passages) + 1, len(terms)))
        for column, term in enumerate(terms):
            for row in [row for row, passage in enumerate(passages) if term in passage.body]:  # perhaps as a part
                counts[row, column] = passages[row].body.split().count(term)
        size = len(candidates)
        self._held = counts > 0
        frequency = self._held[candidates].sum(axis=0)
        self._idf = np.log(1 + (size - frequency + 0.5) / (frequency + 0.5))
        self._total = float(self._idf.sum()) or 1.0
        lengths = np.array([p.body.count(" ") + 1 for p in passages] + [1], dtype=np.float64)
        norm = K1 * (1 - B + B * lengths / lengths[candidates].mean())
        scores = (self._idf * counts * (K1 + 1) / (counts + norm[:, None])).sum(axis=1)
        self.keyword: Floats = scores / (scores[candidates].max(initial=0.0) or 1.0)

    def coverage(self, *rows: npt.NDArray[np.intp]) -> Floats:
        """Return the share of the words that the messages in these rows hold together, by rarity."""
        held = np.logical_or.reduce([self._held[part] for part in rows])
        share: Floats = held @ self._idf / self._total
        return share


def _rarity(count: int, size: int) -> float:
    """Return 1 for what one candidate has, 0 for what all have."""
    return 0.0 if size < 2 or not count else math.log(size / count) / math.log(size)
