"""The final score of a hit: the reranker's probability and the first stage's, as a weighted mean of log-odds. Pure."""

from __future__ import annotations

import math


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
