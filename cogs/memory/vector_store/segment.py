"""A segment: at most 4,096 vectors of one channel, as FAISS codes with their ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from cogs.memory.vector_store.base import Ids, Vectors

Codes = npt.NDArray[np.uint8]
CAPACITIES = (64, 512, 4096)
"""Sizes that a segment grows through, in rows; the last is the largest."""
ROWS = CAPACITIES[-1]
NO_IDS: Ids = np.empty(0, dtype=np.int64)


def _fp16(dim: int) -> Any:
    return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _int8(dim: int) -> Any:
    index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit_uniform, faiss.METRIC_INNER_PRODUCT)
    # A fixed range makes codes comparable between segments and over time. A unit vector's components have a standard
    # deviation of dim ** -0.5; what lies beyond six of them is clipped.
    bound = 6.0 / dim**0.5
    index.train(np.array([[-bound], [bound]], dtype=np.float32).repeat(dim, axis=1))
    return index


SIGNS = "signs-fp16"
KINDS: dict[str, Callable[[int], Any]] = {"flat-fp16": _fp16, "flat-int8": _int8, SIGNS: _fp16}
"""How vectors are held: 2 bytes a dimension, or 1, or 2 and a bit for the approximate search."""


class Segment:
    """Vectors of one channel. Not thread-safe: the store guards it.

    ``changed`` says that the snapshot on disk does not hold this state; ``slot`` is its place there.
    """

    def __init__(self, channel_id: int, dim: int, kind: str) -> None:
        self.channel_id = channel_id
        self.index = KINDS[kind](dim)
        self.code_size: int = self.index.code_size
        self._ids: Ids = np.empty(CAPACITIES[0], dtype=np.int64)
        self._seqs: Ids = np.empty(CAPACITIES[0], dtype=np.int64)
        self._signs: Codes = np.empty((CAPACITIES[0] if kind == SIGNS else 0, (dim + 7) // 8), dtype=np.uint8)
        self.changed = True
        self.slot: int | None = None
        self.low = self.high = 0

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def ids(self) -> Ids:
        """The message ids, by row."""
        return self._ids[: len(self)]

    @property
    def seqs(self) -> Ids:
        """The change numbers, by row."""
        return self._seqs[: len(self)]

    @property
    def capacity(self) -> int:
        """Rows that fit before the next growth."""
        return len(self._ids)

    @property
    def codes(self) -> Codes:
        """The codes, shape (rows, code size): a view into FAISS's memory, valid until rows come or go."""
        if not len(self):
            return np.empty((0, self.code_size), dtype=np.uint8)
        flat = faiss.rev_swig_ptr(self.index.codes.data(), len(self) * self.code_size)
        return np.asarray(flat, dtype=np.uint8).reshape(len(self), self.code_size)

    @property
    def signs(self) -> Codes:
        """One bit a dimension, set where the component is not negative, by row; empty for kinds without."""
        return self._signs[: len(self)]

    @property
    def bytes(self) -> int:
        """Memory of codes, signs, ids and change numbers."""
        return len(self) * self.code_size + self._signs.nbytes + self._ids.nbytes + self._seqs.nbytes

    def decode(self, rows: Ids) -> Vectors:
        """Return the vectors of rows, shape (len(rows), dim), as precise as the codes are."""
        vectors: Vectors = self.index.sa_decode(np.ascontiguousarray(self.codes[rows]))
        return vectors

    def _reserve(self, rows: int) -> None:
        if rows > self.capacity:
            capacity = next(c for c in CAPACITIES if c >= rows)
            for name in ("_ids", "_seqs", *(["_signs"] if len(self._signs) else [])):
                held = getattr(self, name)
                grown = np.empty((capacity, *held.shape[1:]), dtype=held.dtype)
                grown[: len(self)] = held[: len(self)]
                setattr(self, name, grown)

    def append(self, ids: Ids, seqs: Ids, vectors: Vectors) -> None:
        """Add rows; they must fit and be new."""
        start, end = len(self), len(self) + len(ids)
        self._reserve(end)
        self._ids[start:end] = ids
        self._seqs[start:end] = seqs
        self.index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        self._take_signs(start)
        self._note_range()

    def restore(self, ids: Ids, seqs: Ids, codes: Codes) -> None:
        """Take over the rows of a snapshot; the segment is empty before."""
        self._reserve(len(ids))
        self._ids[: len(ids)] = ids
        self._seqs[: len(ids)] = seqs
        self.index.codes.resize(len(ids) * self.code_size)
        self.index.ntotal = len(ids)
        self.codes[:] = codes
        self._take_signs(0)
        self._note_range()

    def _take_signs(self, start: int) -> None:
        if len(self._signs):
            halves = np.ascontiguousarray(self.codes[start:]).view(np.float16)
            self._signs[start : len(self)] = np.packbits(halves >= 0, axis=1)

    def remove(self, rows: Ids) -> None:
        """Take rows out: the last ones fill the gaps, and what they leave is overwritten."""
        keep = len(self) - len(rows)
        gaps = rows[rows < keep]
        movers = np.setdiff1d(np.arange(keep, len(self), dtype=np.int64), rows, assume_unique=True)
        parts: list[npt.NDArray[Any]] = [self._ids, self._seqs, self.codes]
        for values in [*parts, self._signs] if len(self._signs) else parts:
            values[gaps] = values[movers]
        self._signs[keep : len(self)] = 0
        self.codes[keep:] = 0
        self._ids[keep : len(self)] = 0
        self._seqs[keep : len(self)] = 0
        self.index.codes.resize(keep * self.code_size)
        self.index.ntotal = keep
        self._note_range()

    def _note_range(self) -> None:
        self.changed = True
        self.low, self.high = (int(self.ids.min()), int(self.ids.max())) if len(self) else (0, 0)

    def rows_of(self, wanted: Ids) -> Ids:
        """Return the rows whose ids are in ``wanted`` (sorted ascending), in ascending order."""
        if not len(self) or not len(wanted) or wanted[-1] < self.low or wanted[0] > self.high:
            return NO_IDS
        inside = wanted[np.searchsorted(wanted, self.low) : np.searchsorted(wanted, self.high, side="right")]
        if not len(inside):
            return NO_IDS
        if len(inside) <= 8:
            return np.flatnonzero((self.ids[:, None] == inside).any(axis=1))
        places = np.minimum(np.searchsorted(inside, self.ids), len(inside) - 1)
        return np.flatnonzero(inside[places] == self.ids)

    def search(self, query: Vectors, scores: Vectors, rows: Ids, allowed: Ids | None) -> int:
        """Write the best rows of the segment into ``scores`` and ``rows`` (both of shape (k,)); return how many.

        ``query`` is contiguous float32; ``allowed`` narrows to those ids (sorted ascending).
        """
        k = min(len(scores), len(self))
        if k == 0:
            return 0
        parameters = None
        if allowed is not None:
            inside = self.rows_of(allowed)
            if not len(inside):
                return 0
            k = min(k, len(inside))
            if len(inside) < len(self):
                mask = np.zeros(len(self), dtype=bool)
                mask[inside] = True
                bits = np.packbits(mask, bitorder="little")
                selector = faiss.IDSelectorBitmap(len(self), faiss.swig_ptr(bits))
                parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]  # FAISS adds it at import
        self.index.search_c(1, faiss.swig_ptr(query), k, faiss.swig_ptr(scores), faiss.swig_ptr(rows), parameters)
        return k
