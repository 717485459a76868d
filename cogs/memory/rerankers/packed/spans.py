"""Where things lie in a packed row of tokens; plain numbers, made once for all layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that a packed pass is computed at; what lies in it may be smaller, the rest is padding.

    ``head`` rows of shared tokens come first, then the documents one after another, ``rows`` in all; ``documents``
    counts them and ``longest`` is the length of the longest.
    """

    head: int
    rows: int
    documents: int
    longest: int


@dataclass(frozen=True, slots=True)
class Spans:
    """What lies in a packed row: ``head`` shared tokens after ``known`` earlier ones, then documents of ``lengths``."""

    known: int
    head: int
    lengths: tuple[int, ...]
    shape: Shape

    @classmethod
    def exactly(cls, known: int, head: int, lengths: Sequence[int], rows: int) -> Spans:
        """Lay them out without padding but that at the end, to ``rows``."""
        return cls(known, head, tuple(lengths), Shape(head, rows, len(lengths), max(lengths, default=0)))

    @property
    def shared(self) -> int:
        """The shared tokens' places before a document's own, those of padding included."""
        return self.known + self.shape.head

    @property
    def starts(self) -> tuple[int, ...]:
        """The row of each document's first token."""
        return tuple(accumulate(self.lengths[:-1], initial=self.shape.head)) if self.lengths else ()

    @property
    def lasts(self) -> tuple[int, ...]:
        """The row of each document's last token; documents that are padding repeat the last one's."""
        rows = [start + length - 1 for start, length in zip(self.starts, self.lengths, strict=True)]
        return (*rows, *(rows[-1] for _ in range(self.shape.documents - len(rows))))

    @property
    def alike(self) -> tuple[tuple[int, int], ...]:
        """The (first, end) of runs of documents of one length."""
        edges = [number for number, (one, next_) in enumerate(pairwise(self.lengths), 1) if one != next_]
        return tuple(pairwise([0, *edges, len(self.lengths)])) if self.lengths else ()

    def visible(self) -> Tensor:
        """Return which of the shared places hold a token, of shape (shared,), on the CPU."""
        return torch.arange(self.shared) < self.known + self.head

    def rows(self, head: Sequence[int], tails: Sequence[Sequence[int]]) -> Tensor:
        """Return the tokens of each row, 0 where it is padding, of shape (rows,), on the CPU."""
        flat = [*head, *[0] * (self.shape.head - self.head), *(token for tail in tails for token in tail)]
        return torch.tensor([*flat, *[0] * (self.shape.rows - len(flat))])

    def positions(self) -> Tensor:
        """Return the position of each row's token: every document follows the shared tokens. On the CPU."""
        begin = self.known + self.head
        parts = [
            torch.arange(self.known, self.known + self.shape.head),
            *(torch.arange(begin, begin + length) for length in self.lengths),
        ]
        found = torch.cat(parts)
        return torch.nn.functional.pad(found, (0, self.shape.rows - len(found)))
