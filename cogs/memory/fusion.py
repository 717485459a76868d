"""Fusion: the candidates of both searches in one order, by a small learned weighing of cheap signals. Pure.

The signals look at a candidate, at the query, and at the messages before and after it: an answer often stands beside
the words that were asked for. Their weights are data (``data/models/fusion.json``), learned by
``python -m cogs.memory.lab.train_fusion`` and compared in ``data/evaluation``.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cogs.memory.query import QueryInfo

Floats = npt.NDArray[np.float64]
WEIGHTS_FILE = Path(__file__).resolve().parents[2] / "data" / "models" / "fusion.json"
K1, B = 1.2, 0.75
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


@dataclass(frozen=True, slots=True)
class Passage:
    """What fusion reads of a message. ``terms`` are those of its words alone, ``cosine`` is to the query.

    A message that is only a neighbour needs its terms, its cosine and its author.
    """

    terms: Sequence[str]
    cosine: float
    author: str = ""
    text: str = ""
    created_at: dt.datetime | None = None


def blended(reranked: float, fused: float, weight: float) -> float:
    """Return the probability that follows from the reranker's and the first stage's, as a weighted mean of log-odds.

    Args:
        reranked: The reranker's probability.
        fused: The first stage's.
        weight: The first stage's share, 0 (none) to 1.
    """
    if not weight:
        return reranked
    odds = (1 - weight) * _log_odds(reranked) + weight * _log_odds(fused)
    return 1 / (1 + math.exp(-odds))


def _log_odds(probability: float) -> float:
    inside = min(1 - 1e-6, max(1e-6, probability))
    return math.log(inside / (1 - inside))


@dataclass(frozen=True)
class Pool:
    """Candidates with their neighbours: ``beside`` maps a candidate to the messages before and after it."""

    candidates: Sequence[int]
    passages: Mapping[int, Passage]
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
    ids = list(pool.candidates)
    passages = [pool.passages[i] for i in ids]
    lexical = _Lexical(info, pool)
    before = [pool.beside.get(i, (None, None))[0] for i in ids]
    after = [pool.beside.get(i, (None, None))[1] for i in ids]
    known = pool.passages
    authors = Counter(p.author for p in passages)
    named = np.array([p.author in info.names for p in passages], dtype=float)
    rarity = np.array([_rarity(authors[p.author], len(ids)) for p in passages])
    mention = np.array([not lexical.names.isdisjoint(p.terms) for p in passages], dtype=float)
    mentioned = int(mention.sum())
    asks_time = _ASKS_TIME.search(info.query) is not None
    asks_number = _ASKS_NUMBER.search(info.query) is not None

    def beside_named(pair: tuple[int | None, int | None]) -> float:
        return float(any(i in known and known[i].author in info.names for i in pair if i is not None))

    def cosine(i: int | None) -> float:
        return 0.0 if i is None or i not in known else known[i].cosine

    def asks(i: int | None) -> float:
        return float(i is not None and i in known and known[i].text.rstrip().endswith("?"))

    columns: dict[str, Sequence[float] | Floats] = {
        "keyword": [lexical.keyword(i) for i in ids],
        "coverage": [lexical.coverage(i) for i in ids],
        "coverage_beside": [lexical.coverage(i, b, a) for i, b, a in zip(ids, before, after, strict=True)],
        "cosine": [p.cosine for p in passages],
        "author_named": named,
        "author_rarity": named * rarity,
        "other_author": (1 - named) if info.names else np.zeros(len(ids)),
        "mention": mention,
        "mention_rarity": mention * _rarity(mentioned, len(ids)),
        "named_first_person": named * [_FIRST_PERSON.search(p.text) is not None for p in passages],
        "keyword_before": [lexical.keyword(i) for i in before],
        "keyword_after": [lexical.keyword(i) for i in after],
        "cosine_before": [cosine(i) for i in before],
        "cosine_after": [cosine(i) for i in after],
        "author_beside": [beside_named(pair) for pair in zip(before, after, strict=True)],
        "length": [math.log1p(min(LONGEST, len(p.terms))) for p in passages],
        "question": [asks(i) for i in ids],
        "after_question": [asks(i) for i in before],
        "time_asked": [float(asks_time and _TIME.search(p.text) is not None) for p in passages],
        "number_asked": [float(asks_number and _NUMBER.search(p.text) is not None) for p in passages],
        "in_period": [_within(p.created_at, info.during) for p in passages],
    }
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in SIGNALS], axis=1)


class _Lexical:
    """The query's words against the pool: rarity is measured among the candidates, so any database serves."""

    def __init__(self, info: QueryInfo, pool: Pool) -> None:
        self.names = info.name_terms
        self._terms = info.telling
        wanted = frozenset(self._terms)
        self._counts = {i: Counter(t for t in p.terms if t in wanted) for i, p in pool.passages.items()}
        size = len(pool.candidates)
        frequency = Counter(term for i in pool.candidates for term in self._counts[i])
        self._idf = {t: math.log(1 + (size - frequency[t] + 0.5) / (frequency[t] + 0.5)) for t in self._terms}
        self._total = sum(self._idf.values()) or 1.0
        lengths = {i: max(1, len(p.terms)) for i, p in pool.passages.items()}
        average = sum(lengths[i] for i in pool.candidates) / size
        self._scores = {i: self._bm25(self._counts[i], lengths[i] / average) for i in pool.passages}
        self._best = max((self._scores[i] for i in pool.candidates), default=0.0) or 1.0

    def _bm25(self, counts: Counter[str], length: float) -> float:
        norm = K1 * (1 - B + B * length)
        return sum(self._idf[term] * count * (K1 + 1) / (count + norm) for term, count in counts.items())

    def keyword(self, message_id: int | None) -> float:
        return 0.0 if message_id is None else self._scores.get(message_id, 0.0) / self._best

    def coverage(self, *message_ids: int | None) -> float:
        held = {term for i in message_ids if i is not None for term in self._counts.get(i, ())}
        return sum(self._idf[term] for term in held) / self._total


def _rarity(count: int, size: int) -> float:
    """Return 1 for what one candidate has, 0 for what all have."""
    return 0.0 if size < 2 or not count else math.log(size / count) / math.log(size)


def _within(moment: dt.datetime | None, period: tuple[dt.datetime, dt.datetime] | None) -> float:
    return float(moment is not None and period is not None and period[0] <= moment < period[1])
