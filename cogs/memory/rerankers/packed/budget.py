"""Documents in forward passes of bounded size."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

log = logging.getLogger(__name__)
R = TypeVar("R")


def token_budgets(lengths: Sequence[int], budget: int, *, padded: bool = False) -> Iterator[range]:
    """Cut documents, in their order, into runs of at most ``budget`` tokens; a longer one goes alone.

    With ``padded``, every document of a run counts as its longest.
    """
    start, held, longest = 0, 0, 0
    for place, length in enumerate(lengths):
        longest = max(longest, length)
        cost = (place + 1 - start) * longest if padded else held + length
        if place > start and cost > budget:
            yield range(start, place)
            start, held, longest = place, 0, length
        held += length
    if start < len(lengths):
        yield range(start, len(lengths))


class Budget:
    """The tokens of one forward pass; halved for good when the device runs out of memory.

    With ``padded``, the tokens count as padded to the longest of the pass.
    """

    def __init__(self, tokens: int, *, padded: bool = False) -> None:
        self.tokens = max(1, tokens)
        self._padded = padded

    def spend(self, lengths: Sequence[int], run: Callable[[range], Sequence[R]]) -> list[R]:
        """Call ``run`` on as many documents as fit, half as many once memory runs out; return all its results.

        Raises:
            torch.OutOfMemoryError: a single document does not fit.
        """
        results: list[R] = []
        while len(results) < len(lengths):
            done = len(results)
            places = next(token_budgets(lengths[done:], self.tokens, padded=self._padded))
            fitting = range(done + places.start, done + places.stop)
            try:
                results += run(fitting)
            except torch.OutOfMemoryError:
                if len(fitting) == 1:
                    raise
                held = [lengths[place] for place in fitting]
                cost = len(held) * max(held) if self._padded else sum(held)
                self.tokens = max(1, min(self.tokens, cost) // 2)
                log.warning("out of memory; passes now hold %d tokens", self.tokens)
            else:
                continue
            # Outside the handler, where the error no longer holds the failed pass's tensors.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return results
