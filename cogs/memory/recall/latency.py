"""Times of requests by stage: percentiles of the last ones, and histograms since the start."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

WINDOW = 1000
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, in seconds; a last one has no bound."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """``counts`` of requests in each bucket of :data:`BUCKETS` and beyond, and the ``seconds`` of all together."""

    counts: tuple[int, ...]
    seconds: float


class Latency:
    """Keeps the last :data:`WINDOW` times of each stage, in seconds, and counts all of them.

    ``degraded`` counts the answers that were not in the reranker's order, by reason.
    """

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        self.degraded: Counter[str] = Counter()

    def add(self, seconds: Mapping[str, float]) -> None:
        """Record the times of one request."""
        for stage, value in seconds.items():
            self._times.setdefault(stage, deque(maxlen=WINDOW)).append(value)
            self._counts.setdefault(stage, [0] * (len(BUCKETS) + 1))[bisect_left(BUCKETS, value)] += 1
            self._sums[stage] = self._sums.get(stage, 0.0) + value

    def count_degraded(self, reason: str | None) -> None:
        """Count an answer whose order is not the reranker's; ``None`` is one that is."""
        if reason is not None:
            self.degraded[reason] += 1

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Map each stage to its p50, p95 and p99."""
        return {
            stage: dict(zip(("p50", "p95", "p99"), map(float, np.percentile(list(times), (50, 95, 99))), strict=True))
            for stage, times in self._times.items()
        }

    def histograms(self) -> dict[str, Histogram]:
        """Map each stage to the histogram of all its times since the start."""
        return {stage: Histogram(tuple(counts), self._sums[stage]) for stage, counts in self._counts.items()}
