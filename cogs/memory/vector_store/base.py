"""The seam between search and whatever holds the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class VectorStats:
    """``bytes`` counts the vectors and ids held in memory."""

    vectors: int
    bytes: int
    kind: str


@runtime_checkable
class VectorStore(Protocol):
    """Vectors of one guild and one embedder, searchable by cosine within a set of channels.

    Vectors are unit length, shape (n, dim). Every method is synchronous, safe to call from any thread, and never
    called on the event loop. ``seq`` is the database's change number of the row that a vector came from.
    """

    dim: int

    def add(self, channel_ids: Ids, message_ids: Ids, seqs: Ids, vectors: Vectors) -> None:
        """Insert or replace vectors; a message lives in one channel and has one vector."""

    def remove(self, message_ids: Sequence[int]) -> int:
        """Remove messages, in memory and in any snapshot on disk; return how many were there."""

    def search(
        self, query: Vectors, channel_ids: frozenset[int], k: int, allowed: Ids | None = None
    ) -> list[tuple[int, float]]:
        """Return at most ``k`` ``(message id, cosine)`` of the given channels, best first.

        ``query`` has shape (dim,). ``allowed`` narrows further to those message ids (filters by author or time).
        """

    def cosines(self, query: Vectors, channel_ids: frozenset[int], message_ids: Ids) -> dict[int, float]:
        """Map those messages that are in the given channels to their cosine, by looking them up without a search."""

    def __len__(self) -> int: ...

    def stats(self) -> VectorStats:
        """Return what is held."""

    def close(self) -> None:
        """Free what is held; snapshots stay."""
