"""Batches of texts of similar length, so that a model computes little padding. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

MANY = 8
"""Batches for each worker from which on it does not matter that they differ in size."""


def length_sorted_batches(
    lengths: Sequence[int], budget: int, padding: float = math.inf
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield batches of row numbers, the shortest rows first.

    Args:
        lengths: of the rows, in tokens.
        budget: padded tokens of a batch at most, which are its rows times its longest; one row always goes.
        padding: tokens that are added to the shorter rows of a batch at most.
    """
    order = np.argsort(lengths, kind="stable")
    start, padded = 0, 0
    for end in range(1, len(order) + 1):
        grown = 0 if end == len(order) else (lengths[order[end]] - lengths[order[end - 1]]) * (end - start)
        if end == len(order) or lengths[order[end]] * (end + 1 - start) > budget or padded + grown > padding:
            yield order[start:end]
            start, padded, grown = end, 0, 0
        padded += grown


def batches_side_by_side(
    lengths: Sequence[int], budget: int, workers: int, padding: float
) -> list[npt.NDArray[np.int64]]:
    """Return length-sorted batches for ``workers`` that work side by side: few even ones, or many tight ones.

    Where there are many, the largest come first, so that only small ones are left when a worker becomes idle.
    """
    tight = list(length_sorted_batches(lengths, budget, padding))
    if len(tight) < MANY * workers:
        return even_batches(lengths, budget, workers)
    return sorted(tight, key=lambda rows: -len(rows) * lengths[rows[-1]])


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
