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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from cogs.memory.recall.asking import asking_share
from cogs.memory.recall.pool import Floats, Lexical, Pool, Rows, Thread, rarity
from cogs.memory.recall.query import QueryInfo
from config.settings import PROJECT_DIR

WEIGHTS_FILE = PROJECT_DIR / "data" / "models" / "fusion.json"
LONGEST = 30
"""Terms beyond this many make a message no more telling."""
ASKING_CHARACTERS = 300
"""Whether a message asks is read from so much of it."""
NEARNESS = (1.0, 0.6, 0.4)
"""What a question lends to the turns after it, the next one first."""
LEAST_SPREAD = 0.02
"""Cosines that lie closer together than this say nothing: their differences are not made large."""
NO_THREAD = Thread("")
NONE = -1
"""The id of a message that is not there."""
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


SIGNALS = (
    "keyword",  # BM25 of the telling terms that are no names, of the best candidate's
    "coverage",  # the share of those terms that it holds, by rarity
    "coverage_beside",  # the same with its neighbours
    "coverage_title",  # how much more it holds with the title of its thread
    "cosine",  # in standard deviations from the candidates' mean, so that weights serve every embedder
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
    "cosine_starter",  # of the first message of its thread
    "author_beside",
    "length",
    "question",  # the share of its words that ask
    "question_coverage",  # a question about the same is the likelier no answer to it
    "answers_cosine",  # how near the question is that it answers
    "title",  # the query holds most words of its thread's title
    "title_starter",  # and it is the first message there: the more so the less else is asked
    "time_asked",  # the query asks when, and it speaks of time
    "number_asked",
    "in_period",  # it was written in the time that the query speaks of
)


ONLY_WORD = 4.0
"""What holding the word counts where the query is one word: an error code is looked for, not its like."""


@dataclass(frozen=True)
class FusionWeights:
    """One weight per signal; ``scale`` and ``bias`` turn their sum into a probability."""

    weights: Mapping[str, float]
    scale: float = 1.0
    bias: float = 0.0

    def vector(self) -> Floats:
        """Return the weights in the order of :data:`SIGNALS`; what is not named weighs nothing."""
        return np.array([self.weights.get(name, 0.0) for name in SIGNALS])


def weights_file(embedder: str) -> Path:
    """Return the file of the weights learned for an embedder, or of those that serve every one."""
    own = WEIGHTS_FILE.with_name(f"fusion-{embedder}.json")
    return own if own.is_file() else WEIGHTS_FILE


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
    found = signals(info, pool)
    total = found @ weights.vector()
    if len(info.terms) == 1:
        total += ONLY_WORD * found[:, SIGNALS.index("coverage")]
    scores = 1 / (1 + np.exp(-np.clip(weights.scale * total + weights.bias, -30, 30)))
    ordered = sorted(zip(pool.candidates, scores.tolist(), strict=True), key=lambda pair: (-pair[1], -pair[0]))
    return [Fused(message_id, score) for message_id, score in ordered]


def signals(info: QueryInfo, pool: Pool) -> Floats:
    """Return the signals of each candidate, shape (candidates, signals)."""
    place = {message_id: row for row, message_id in enumerate(pool.passages)}
    everything = list(pool.passages.values())
    threads = {channel: len(everything) + n for n, channel in enumerate(pool.threads)}
    bodies = [*(p.body for p in everything), *(thread.body for thread in pool.threads.values())]
    nobody = len(bodies)  # the row of a neighbour that is not there: no words, no meaning, no author
    rows = _rows(place[i] for i in pool.candidates)
    passages = [everything[row] for row in rows.tolist()]
    before = _rows(place.get(pool.previous.get(i, NONE), nobody) for i in pool.candidates)
    after = _rows(place.get(pool.following.get(i, NONE), nobody) for i in pool.candidates)
    title = _rows(threads.get(p.channel, nobody) for p in passages)
    lexical = Lexical(info, bodies, rows)
    missing = [0.0] * (nobody + 1 - len(everything))
    cosine = np.concatenate([_standardised(np.array([p.cosine for p in everything]), rows), missing])
    by_named = np.array([p.author in info.names for p in everything] + missing, dtype=np.float64)
    asking = np.array([asking_share(p.text[:ASKING_CHARACTERS]) for p in everything] + missing)
    own = lexical.coverage(np.arange(nobody + 1))
    authors = Counter(p.author for p in passages)
    named = by_named[rows]
    mention = np.array([p.holds_any(info.name_terms) for p in passages], dtype=np.float64)
    since, until = (0, 0) if info.during is None else (round(moment.timestamp() * 1000) for moment in info.during)
    asks_time = _ASKS_TIME.search(info.query) is not None
    asks_number = _ASKS_NUMBER.search(info.query) is not None
    their_thread = [pool.threads.get(p.channel, NO_THREAD) for p in passages]
    first = [t.match * (t.starter == i) for t, i in zip(their_thread, pool.candidates, strict=True)]
    starter = _rows(place.get(NONE if t.starter is None else t.starter, nobody) for t in their_thread)
    columns: dict[str, Sequence[float] | Floats] = {
        "keyword": lexical.keyword[rows],
        "coverage": own[rows],
        "coverage_beside": lexical.coverage(rows, before, after),
        "coverage_title": lexical.coverage(rows, title) - own[rows],
        "cosine": cosine[rows],
        "author_named": named,
        "author_rarity": named * [rarity(authors[p.author], len(passages)) for p in passages],
        "other_author": (1 - named) if info.names else np.zeros(len(passages)),
        "mention": mention,
        "mention_rarity": mention * rarity(int(mention.sum()), len(passages)),
        "named_first_person": [
            float(p.author in info.names and _FIRST_PERSON.search(p.text) is not None) for p in passages
        ],
        "keyword_before": lexical.keyword[before],
        "keyword_after": lexical.keyword[after],
        "cosine_before": cosine[before],
        "cosine_after": cosine[after],
        "cosine_starter": cosine[starter],
        "author_beside": np.maximum(by_named[before], by_named[after]),
        "length": [math.log1p(min(LONGEST, p.length)) for p in passages],
        "question": asking[rows],
        "question_coverage": asking[rows] * own[rows],
        "answers_cosine": _answered(pool, place, asking, cosine),
        "title": [thread.match for thread in their_thread],
        "title_starter": own[title] * first,
        "time_asked": [float(asks_time and _TIME.search(p.text) is not None) for p in passages],
        "number_asked": [float(asks_number and _NUMBER.search(p.text) is not None) for p in passages],
        "in_period": [float(since <= (p.created_ms or 0) < until) for p in passages],
    }
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in SIGNALS], axis=1)


def _standardised(cosines: Floats, candidates: Rows) -> Floats:
    """Return cosines in standard deviations from the candidates' mean; models differ in how far theirs are spread."""
    among = cosines[candidates]
    return np.asarray((cosines - among.mean()) / max(float(among.std()), LEAST_SPREAD), dtype=np.float64)


def _rows(places: Iterable[int]) -> Rows:
    return np.fromiter(places, dtype=np.intp)


def _answered(pool: Pool, place: Mapping[int, int], asking: Floats, cosine: Floats) -> Floats:
    """Return how near to the query the question is that each candidate answers, shape (candidates,).

    That is a question that it replies to, or one that somebody else asked in the turns before it.
    """
    found = np.zeros(len(pool.candidates))
    for row, message_id in enumerate(pool.candidates):
        passage = pool.passages[message_id]
        asked = [(passage.reply_to, 1.0)] if passage.reply_to is not None else []
        asked += zip(pool.before(message_id, len(NEARNESS)), NEARNESS, strict=False)
        for question, weight in asked:
            at = place.get(question)
            if at is not None and asking[at] and pool.passages[question].author != passage.author:
                found[row] = max(found[row], weight * asking[at] * max(0.0, cosine[at]))
    return found
