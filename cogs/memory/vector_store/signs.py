"""The approximate search: sign bits choose, exact cosines order, and a proof says how many to choose.

A vector's signs are one bit a dimension. The rows whose signs differ least from the query's are candidates; their
cosines come from the stored codes, so every score is exact and only a neighbour can be missing. How many candidates
that takes depends on the vectors, so it is measured on them: see :func:`trial`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import faiss
import numpy as np
import numpy.typing as npt

from cogs.memory.vector_store.base import Ids, Vectors
from cogs.memory.vector_store.segment import NO_IDS, Segment

Distances = npt.NDArray[np.int32]
Ranks = npt.NDArray[np.int64]
Scan = Callable[[Vectors, Sequence[Segment], int], Ids]
REQUIRED_RECALL: Final = 0.99
OVERSAMPLING: Final = (8, 16, 32, 64, 128)
"""Candidates for each hit wanted; the smallest that is proven is used."""
PROOF_K: Final = 50
TRIALS: Final = 32
GROWTH: Final = 1.25
"""A proof holds until there are this many times its rows."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the trials showed. ``oversampling`` is ``None`` where none of those tried reaches the recall."""

    rows: int
    recall: float
    oversampling: int | None

    def holds_for(self, rows: int) -> bool:
        """Return whether an index that now has ``rows`` rows may rely on it."""
        return self.oversampling is not None and rows <= self.rows * GROWTH

    def __str__(self) -> str:
        if self.oversampling is None:
            return f"exact search: signs find only {self.recall:.1%}"
        return f"{self.recall:.1%} of the exact {PROOF_K} best in {TRIALS} trials with {self.oversampling} × candidates"


def distances(query: Vectors, segments: Sequence[Segment]) -> list[Distances]:
    """Return, by segment, in how many signs each row differs from the query."""
    faiss.omp_set_num_threads(1)
    wanted = np.packbits(query >= 0)
    found = []
    for segment in segments:
        signs = segment.signs
        out = np.empty(len(signs), dtype=np.int32)
        faiss.hammings(  # type: ignore[attr-defined]  # FAISS makes its names at import
            faiss.swig_ptr(wanted), faiss.swig_ptr(signs), 1, len(signs), signs.shape[1], faiss.swig_ptr(out)
        )
        found.append(out)
    return found


def nearest(query: Vectors, segments: Sequence[Segment], candidates: int) -> tuple[Ids, Vectors]:
    """Return ids and cosines of at least ``candidates`` rows (all, where there are fewer), in no order."""
    segments = [segment for segment in segments if len(segment)]
    if not segments:
        return NO_IDS, np.empty(0, dtype=np.float32)
    by_segment = distances(query, segments)
    # Counting is cheaper than sorting: there are only dim + 1 distances. Rows at the last distance come in together.
    below = np.cumsum(sum(np.bincount(d, minlength=len(query) + 1) for d in by_segment))
    limit = min(int(np.searchsorted(below, candidates)), len(query))
    ids, kept = [], []
    for segment, differing in zip(segments, by_segment, strict=True):
        rows = np.flatnonzero(differing <= limit)
        if len(rows):
            ids.append(segment.ids[rows])
            kept.append(segment.decode(rows) @ query)
    return np.concatenate(ids), np.concatenate(kept).astype(np.float32)


def trial(segments: Sequence[Segment], exact: Scan, rng: np.random.Generator, *, half: bool) -> Ranks:
    """Return at which place of the order by signs each of the exact best stands; segments must not change meanwhile.

    The question is a held vector mixed with another one: a question lies farther from its answers than a message does
    from messages like it. ``half`` searches a random half of the segments, as a scope would. ``exact`` returns the ids
    of the best.
    """
    segments = [segment for segment in segments if len(segment)]
    few = [segment for segment in segments if not half or rng.random() < 0.5] or segments
    a, b = (
        s.decode(rng.integers(len(s), size=1))[0] for s in (segments[i] for i in rng.integers(len(segments), size=2))
    )
    query = np.ascontiguousarray(a + 0.7 * b, dtype=np.float32)
    query /= max(float(np.linalg.norm(query)), 1e-12)
    differing = np.concatenate(distances(query, few))
    best = np.isin(np.concatenate([segment.ids for segment in few]), exact(query, few, PROOF_K))
    # What ties at the same distance comes in as well, so a row's place is that of the last of them.
    places: Ranks = np.cumsum(np.bincount(differing, minlength=len(query) + 1))[differing[best]]
    return places


def judge(rows: int, places: Ranks) -> Proof:
    """Return the smallest oversampling that finds enough of the exact best, from the places that trials gave."""
    recall = 0.0
    for oversampling in OVERSAMPLING:
        recall = float((places <= oversampling * PROOF_K).mean())
        if recall >= REQUIRED_RECALL:
            return Proof(rows, recall, oversampling)
    return Proof(rows, recall, None)
