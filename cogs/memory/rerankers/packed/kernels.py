"""Attention by kernels for GPUs: variable-length flash attention, and FlexAttention."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import flex_attention as flex
from torch.nn.attention import varlen

from cogs.memory.rerankers.packed.attention import Attention, Padded, PerDocument
from cogs.memory.rerankers.packed.spans import Spans


class VariableLength(Attention):
    """Flash attention over sequences of any length beside each other: nothing is computed for padding.

    The sequences are the head, the padding after it, and the documents. The keys of each are laid out anew: those of
    the shared tokens, then its own; ``_keys`` are their places among the shared ones followed by all rows. Causality is
    aligned to the end of the keys, so that a document sees the whole beginning.
    """

    def __init__(self, spans: Spans, device: torch.device) -> None:
        super().__init__(spans, device)
        shape, shared = spans.shape, spans.shared
        before = [*range(spans.known + spans.head)]
        padding = [[0]] * (shape.documents - len(spans.lengths))
        documents = [
            [*before, *range(shared + start, shared + start + length)]
            for start, length in zip(spans.starts, spans.lengths, strict=True)
        ]
        ends = [start + length for start, length in zip(spans.starts, spans.lengths, strict=True)]
        ends += [ends[-1] if ends else shape.head] * len(padding)
        room = (shape.documents + 1) * (shared + 1) + shape.rows
        self._ends = torch.tensor([0, spans.head, shape.head, *ends], dtype=torch.int32, device=device)
        self._keys, self._key_ends = _laid_out([before, [0], *documents, *padding], room, device)
        self._last_ends = torch.arange(shape.documents + 1, dtype=torch.int32, device=device)
        self._last_keys, self._last_key_ends = _laid_out([*documents, *padding], room, device)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """See :class:`Attention`."""
        return (self.last, self._ends, self._keys, self._key_ends, self._last_keys, self._last_key_ends)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, shared_key: Tensor, shared_value: Tensor, *, final: bool
    ) -> Tensor:
        """See :class:`Attention`."""
        shape = self.spans.shape
        if final and not shape.documents:
            return query
        places, key_ends = (self._last_keys, self._last_key_ends) if final else (self._keys, self._key_ends)
        keys = torch.cat([shared_key.transpose(0, 1), key])[places]
        values = torch.cat([shared_value.transpose(0, 1), value])[places]
        found: Any = varlen.varlen_attn(
            query,
            keys,
            values,
            self._last_ends if final else self._ends,
            key_ends,
            1 if final else max(shape.head, shape.longest),
            max(1, self.spans.shared + shape.longest),
            scale=1.0,
            window_size=(-1, -1) if final else (-1, 0),
            enable_gqa=True,
        )
        attended: Tensor = found
        return attended


def _laid_out(sequences: Sequence[Sequence[int]], room: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the sequences one after another, of shape (room,) with 0 after them, and the places between them."""
    flat = torch.tensor([place for places in sequences for place in places])
    ends = torch.tensor([0, *map(len, sequences)]).cumsum(0)
    return F.pad(flat, (0, room - len(flat))).to(device), ends.to(device, torch.int32)


SHARED, PADDING = -1, -2


class Flex(Attention):
    """FlexAttention: one kernel over the whole row, which skips blocks that lie in no document of the query's.

    ``_of`` tells of each place (the shared ones, then the rows after the head) which document it is of.
    """

    def __init__(self, spans: Spans, device: torch.device) -> None:
        super().__init__(spans, device)
        shape, shared = spans.shape, spans.shared
        of = torch.full((shared + shape.rows - shape.head,), PADDING)
        of[: spans.known + spans.head] = SHARED
        for number, (start, length) in enumerate(zip(spans.starts, spans.lengths, strict=True)):
            of[shared + start - shape.head : shared + start - shape.head + length] = number
        self._of = of.to(device)
        self._block_mask = self._blocks(torch.arange(shape.rows, device=device))
        self._last_block_mask = self._blocks(self.last) if shape.documents else None

    def _blocks(self, rows: Tensor) -> flex.BlockMask:
        of, known = self._of, self.spans.known

        def visible(_batch: Tensor, _head: Tensor, query: Tensor, place: Tensor) -> Tensor:
            own = rows[query] + known
            return (place <= own) & ((of[place] == SHARED) | (of[place] == of[own]))

        return flex.create_block_mask(visible, None, None, len(rows), len(of), device=of.device)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """See :class:`Attention`; masks of blocks are no plain tensors, so no pass can be played again by them."""
        raise RuntimeError("FlexAttention's masks belong to one pass")

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, shared_key: Tensor, shared_value: Tensor, *, final: bool
    ) -> Tensor:
        """See :class:`Attention`."""
        head = self.spans.shape.head
        if final and self._last_block_mask is None:
            return query
        keys, values = (
            torch.cat([before, own[head:].transpose(0, 1)], dim=1)[None]
            for before, own in ((shared_key, key), (shared_value, value))
        )
        found = _flex(query.device.type)(
            query.transpose(0, 1)[None],
            keys,
            values,
            block_mask=self._last_block_mask if final else self._block_mask,
            scale=1.0,
            enable_gqa=True,
        )
        attended: Tensor = found[0].transpose(0, 1)
        return attended


@functools.cache
def _flex(device_type: str) -> Any:
    """Return FlexAttention, compiled where that is what makes it fast; for any number of rows at once."""
    return torch.compile(flex.flex_attention, dynamic=True) if device_type == "cuda" else flex.flex_attention


Strategy = Literal["per_document", "padded", "varlen", "flex"]
STRATEGIES: Final[Mapping[str, type[Attention]]] = {
    "per_document": PerDocument,
    "padded": Padded,
    "varlen": VariableLength,
    "flex": Flex,
}


def best_for(device_type: str) -> Strategy:
    """Return what measured best on a processor, and elsewhere what runs on any device."""
    return "per_document" if device_type == "cpu" else "padded"
