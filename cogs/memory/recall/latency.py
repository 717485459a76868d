"""Percentiles of the last requests, by stage."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

WINDOW = 1000


class Latency:
    """Keeps the last :data:`WINDOW` times of each stage, in seconds."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def add(self, seconds: Mapping[str, float]) -> None:
        """Record the times of one request."""
        for stage, value in seconds.items():
            self._times.setdefault(stage, deque(maxlen=WINDOW)).append(value)

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Map each stage to its p50, p95 and p99."""
        return {
            stage: dict(zip(("p50", "p95", "p99"), map(float, np.percentile(list(times), (50, 95, 99))), strict=True))
            for stage, times in self._times.items()
        }
