"""Two rerankers as one: English pairs are judged by the one, all others by the other.

``config/rerankers.yaml`` names them: ``options: {english: NAME, others: NAME}``, both of a format that says how sure a
choice among candidates is (``choice`` in their ``mneme.json``). A pair is English where question and message are, or
are too short to say. What the two say of a pair is brought to one scale, the log-odds against nobody having answered,
so that candidates in several languages stand in one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score
from cogs.memory.rerankers.pairs import PairReranker
from cogs.memory.rerankers.probabilities import Choice
from cogs.memory.rerankers.registry import load_reranker, load_specs
from cogs.memory.text.languages import may_be_english

EVEN = Choice(1.0, 0.0)
"""Of log-odds against nobody: each candidate counts exp(its log-odds), nobody 1."""


class ByLanguage(Reranker):
    """Sends each pair to the reranker that reads it; ``raw`` is that model's logit."""

    scale: ClassVar[Scale] = "logit"

    def __init__(self, spec: RerankerSpec, english: PairReranker, others: PairReranker) -> None:
        super().__init__(spec)
        self._english, self._others = english, others
        self.uses_prior = english.uses_prior or others.uses_prior

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score each pair with the model that reads it."""
        found: list[Score | None] = [None] * len(documents)
        for reranker, places in self._shared_out(query, documents):
            scores = reranker.score(query, [documents[place] for place in places]) if places else []
            for place, score in zip(places, scores, strict=True):
                found[place] = score
        return [score for score in found if score is not None]

    def among(self, query: str, documents: Sequence[Document], scores: Sequence[Score]) -> list[Score]:
        """Return the probabilities that each is the answer where one of these, or none, is."""
        if any(document.prior is None for document in documents):
            return list(scores)
        odds = [0.0] * len(documents)
        for reranker, places in self._shared_out(query, documents):
            whole = reranker.odds(documents, scores)
            for place in places:
                odds[place] = whole[place]
        return [replace(score, probability=one) for score, one in zip(scores, EVEN.probabilities(odds), strict=True)]

    def close(self) -> None:
        """Free both models."""
        self._english.close()
        self._others.close()

    def _shared_out(self, query: str, documents: Sequence[Document]) -> list[tuple[PairReranker, list[int]]]:
        asked = may_be_english(query)
        english = [place for place, document in enumerate(documents) if asked and may_be_english(document.text)]
        chosen = set(english)
        return [
            (self._english, english),
            (self._others, [place for place in range(len(documents)) if place not in chosen]),
        ]


def load(spec: RerankerSpec, options: LoadOptions) -> ByLanguage:
    """Load both rerankers.

    Raises:
        RerankerUnavailable: one of them is not named, not here, or not of a kind that can stand beside another.
    """
    specs = load_specs()
    found = []
    for role in ("english", "others"):
        name = spec.options.get(role)
        if name not in specs:
            raise RerankerUnavailable(f"The reranker {spec.name} names no {role!r} that rerankers.yaml has: {name!r}.")
        reranker = load_reranker(specs[str(name)], options)
        if not isinstance(reranker, PairReranker) or not reranker.chooses:
            raise RerankerUnavailable(
                f"The reranker {spec.name} cannot use {name} for {role!r}: it does not say how sure a choice is."
            )
        found.append(reranker)
    return ByLanguage(spec, *found)
