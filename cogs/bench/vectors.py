"""Generated unit vectors in channels of very different sizes, and the questions that are put to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cogs.bench import chatter

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
CLUSTERS = 200
CHANNELS = 200
BATCH = 10_000


@dataclass(frozen=True)
class Rows:
    """``channel_ids`` holds the channel of each row; row i is the message ``FIRST_MESSAGE + i × 4096``."""

    dim: int
    channel_ids: Ids
    scopes: dict[str, frozenset[int]]

    @property
    def message_ids(self) -> Ids:
        """Return the ids in the order of the rows."""
        return chatter.FIRST_MESSAGE + np.arange(len(self.channel_ids), dtype=np.int64) * 4096

    def batches(self) -> Iterator[tuple[slice, Vectors]]:
        """Yield the rows' vectors, the same at every call, a batch at a time."""
        centres = np.random.default_rng(1).standard_normal((CLUSTERS, self.dim), dtype=np.float32)
        for start in range(0, len(self.channel_ids), BATCH):
            part = slice(start, min(start + BATCH, len(self.channel_ids)))
            rng = np.random.default_rng([2, start])
            count = part.stop - start
            vectors = centres[rng.integers(0, CLUSTERS, count)] + rng.standard_normal(
                (count, self.dim), dtype=np.float32
            )
            yield part, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def queries(self, count: int) -> Vectors:
        """Return unit vectors that lie as near to the rows as rows lie to each other."""
        centres = np.random.default_rng(1).standard_normal((CLUSTERS, self.dim), dtype=np.float32)
        rng = np.random.default_rng(3)
        vectors = centres[rng.integers(0, CLUSTERS, count)] + rng.standard_normal((count, self.dim), dtype=np.float32)
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


def rows(count: int, dim: int) -> Rows:
    """Spread ``count`` rows over channels as chat does (the n-th channel has 1/n of the first), and choose scopes.

    The scopes: the largest channel; channels that hold 1 % of the rows; all.
    """
    shares = 1.0 / np.arange(1, CHANNELS + 1)
    rng = np.random.default_rng(0)
    channels = chatter.FIRST_CHANNEL + rng.choice(CHANNELS, size=count, p=shares / shares.sum()).astype(np.int64)
    names, sizes = np.unique(channels, return_counts=True)
    order = np.argsort(sizes, kind="stable")
    few = names[order][: max(1, int(np.searchsorted(np.cumsum(sizes[order]), count / 100)))]
    scopes = {
        "1 channel": frozenset([int(names[order[-1]])]),
        "1 %": frozenset(few.tolist()),
        "all": frozenset(names.tolist()),
    }
    return Rows(dim, channels, scopes)
