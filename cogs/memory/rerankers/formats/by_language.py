"""Two rerankers as one: English pairs are judged by a model of their own, all others by one that reads every language.

The entry's own folder is of the format :mod:`.joint`; ``options: {english: NAME}`` names another entry of
``config/rerankers.yaml``. Both have to say how sure a choice among candidates is (``choice`` in ``mneme.json``). A pair
is English where question and message are, or are too short to say. What the two say of a pair is brought to one scale,
the log-odds against nobody having answered, so that candidates in several languages stand in one order.

``both: N`` lets the other model judge the N likeliest English candidates of a question too; what counts is then the
mean of both log-odds. The two learnt from different conversations, and of a kind that neither knows the mean says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score
from cogs.memory.rerankers.formats import joint
from cogs.memory.rerankers.pairs import PairReranker
from cogs.memory.rerankers.probabilities import Choice
from cogs.memory.rerankers.registry import load_reranker, load_specs
from cogs.memory.text.languages import may_be_english

STEP = 0.01
"""By how much what one model read stays below what both did, at least."""
EVEN = Choice(1.0, 0.0)
"""Of log-odds against nobody: each candidate counts exp(its log-odds), nobody 1."""


class ByLanguage(Reranker):
    """Sends each pair to the reranker that reads it; ``raw`` is that model's logit."""

    scale: ClassVar[Scale] = "logit"

    def __init__(self, spec: RerankerSpec, english: PairReranker, others: PairReranker, both: int = 0) -> None:
        super().__init__(spec)
        self._english, self._others, self._both = english, others, both
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
        """Return the probabilities that each is the answer where one of these, or none, is.

        The likeliest English candidates are judged by both models here, and stay above the other English ones.
        """
        if any(document.prior is None for document in documents):
            return list(scores)
        (_, english), _ = self._shared_out(query, documents)
        odds = self._others.odds(documents, scores)
        for place, value in zip(english, self._english_odds(query, documents, scores, english), strict=True):
            odds[place] = value
        return [replace(score, probability=one) for score, one in zip(scores, EVEN.probabilities(odds), strict=True)]

    def _english_odds(
        self, query: str, documents: Sequence[Document], scores: Sequence[Score], english: Sequence[int]
    ) -> list[float]:
        """Return the log-odds of the English candidates; of the likeliest, the mean of both models'."""
        whole = self._english.odds(documents, scores)
        found = [whole[place] for place in english]
        best = sorted(range(len(english)), key=lambda number: -found[number])[: self._both]
        if not best:
            return found
        chosen = [documents[english[number]] for number in best]
        again = self._others.odds(chosen, self._others.score(query, chosen))
        for number, value in zip(best, again, strict=True):
            found[number] = (found[number] + value) / 2
        below = [number for number in range(len(english)) if number not in set(best)]
        if below:
            lowest = min(found[number] for number in best)
            lowered = min(0.0, lowest - STEP - max(found[number] for number in below))
            for number in below:
                found[number] += lowered
        return found

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
        RerankerUnavailable: one of them is not named, not here, or does not say how sure a choice is.
    """
    specs, name = load_specs(), spec.options.get("english")
    if name not in specs:
        raise RerankerUnavailable(f"The reranker {spec.name} names no `english` that rerankers.yaml has: {name!r}.")
    english, others = load_reranker(specs[str(name)], options), joint.load(spec, options)
    for part in (english, others):
        if not isinstance(part, PairReranker) or not part.chooses:
            raise RerankerUnavailable(
                f"The reranker {spec.name} cannot use {part.spec.name}: it does not say how sure a choice is."
            )
    both = spec.options.get("both", 0)
    if not isinstance(both, int) or both < 0:
        raise RerankerUnavailable(
            f"The reranker {spec.name} states {both!r} for `both`, which is no number of candidates."
        )
    assert isinstance(english, PairReranker)
    return ByLanguage(spec, english, others, both)
