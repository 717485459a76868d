"""Keys and values of prompt beginnings, kept between calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from cachetools import LRUCache


@dataclass(frozen=True, slots=True)
class KeyValues:
    """The attention state of a beginning, per layer: keys and values of shape (kv heads, tokens, head size)."""

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]

    def __len__(self) -> int:
        """Return the number of tokens."""
        return int(self.keys[0].shape[1])

    @property
    def nbytes(self) -> int:
        """The memory that it holds, in bytes."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))


class PrefixCache:
    """The states of the latest beginnings, by their tokens; bounded in number.

    The instruction is the same from call to call and so stays; queries come and go.
    """

    def __init__(self, entries: int = 4) -> None:
        self._states: LRUCache[tuple[int, ...], KeyValues] = LRUCache(entries)

    def __len__(self) -> int:
        return len(self._states)

    def longest(self, tokens: Sequence[int], boundaries: Sequence[int]) -> tuple[int, KeyValues | None]:
        """Return the length and the state of the longest known beginning of ``tokens`` that ends at a boundary."""
        for length in sorted(boundaries, reverse=True):
            key = tuple(tokens[:length])
            if length and key in self._states:
                return length, self._states[key]
        return 0, None

    def put(self, tokens: Sequence[int], state: KeyValues) -> None:
        """Keep a state; the one unused for longest goes where there is no room."""
        self._states[tuple(tokens)] = state

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()
