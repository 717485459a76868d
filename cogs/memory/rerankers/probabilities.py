"""From scores to probabilities: the first stage's odds, and the shares of candidates beside each other. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cogs.memory.inference.model_specs import RerankerUnavailable

PRIOR_LEAST: Final = 1e-4
GROWTH_AT_MOST: Final = 3.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A softmax over the candidates of one question and "no answer".

    A message's own score says how well it fits; whether it is the answer depends on what else fits. The logit of a
    candidate is ``scale`` times its score, that of "no answer" is ``nothing``.
    """

    scale: float
    nothing: float

    @classmethod
    def of(cls, stated: Any, name: str) -> Choice | None:
        """Read what ``mneme.json`` states, or ``None`` where it states nothing.

        Raises:
            RerankerUnavailable: it is no choice.
        """
        if stated is None:
            return None
        match stated:
            case {"scale": int() | float() as scale, "nothing": int() | float() as nothing} if scale > 0:
                return cls(float(scale), float(nothing))
        raise RerankerUnavailable(
            f"The reranker {name} states the choice {stated!r}; it has to be a scale above 0 and a number for nothing."
        )

    def probabilities(self, scores: Sequence[float]) -> list[float]:
        """Return one probability for each score; they and that of no answer sum to 1."""
        exponents = [self.scale * score for score in scores]
        top = max([self.nothing, *exponents])
        counts = [math.exp(exponent - top) for exponent in exponents]
        total = math.fsum(counts) + math.exp(self.nothing - top)
        return [count / total for count in counts]


def growth(words: Sequence[int], usual: float | None) -> float:
    """Return by how much the prior weighs more where messages are long: 1 to :data:`GROWTH_AT_MOST`.

    A small reranker has learnt from lines and judges a page by a passage of it; the first stage reads all of it and
    what stands beside it.

    Args:
        words: of each candidate of a question.
        usual: up to so many words in the mean the weight is as it is; ``None`` lets it never grow.
    """
    if usual is None or not words:
        return 1.0
    return min(max(1.0, sum(words) / len(words) / usual), GROWTH_AT_MOST)


def log_odds(prior: float | None) -> float:
    """Return the log-odds of a probability, bounded at one in ten thousand; 0 where there is none."""
    if prior is None:
        return 0.0
    bounded = min(max(prior, PRIOR_LEAST), 1.0 - PRIOR_LEAST)
    return math.log(bounded / (1.0 - bounded))
