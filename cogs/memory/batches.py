"""Texts of like length in one batch: little of what a model computes is padding. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt


def length_sorted_batches(lengths: Sequence[int], budget: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield row numbers, shortest first, so that rows × longest stays within ``budget`` (one row at least)."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or lengths[order[end]] * (end + 1 - start) > budget:
            yield order[start:end]
            start = end


def even_batches(lengths: Sequence[int], budget: int, workers: int) -> list[npt.NDArray[np.int64]]:
    """Return length-sorted batches for ``workers`` that work side by side, about equally large.

    Their number is a multiple of the workers where there are rows enough, so that none is idle at the end: twenty
    short texts, which would fit in one batch, take half the time in two.
    """

    def within(size: int) -> list[npt.NDArray[np.int64]]:
        return list(length_sorted_batches(lengths, size))

    whole = within(budget)
    wanted = min(-(-len(whole) // workers) * workers, len(lengths))
    smallest = bisect_left(range(budget), True, lo=1, key=lambda size: len(within(size)) <= wanted)
    return within(smallest) if whole else whole
