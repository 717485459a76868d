"""How packed documents attend to the shared beginning and to themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from cogs.memory.rerankers.packed.spans import Spans


class Attention(ABC):
    """One implementation of attention for one packed pass; built once and used by all layers.

    ``last`` are the rows of the documents' last tokens.
    """

    def __init__(self, spans: Spans, device: torch.device) -> None:
        self.spans = spans
        self.last = torch.tensor(spans.lasts, dtype=torch.long, device=device)

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """The device tensors that depend on more than the pass's shape.

        Another pass of the same shape needs other values in these, and nothing else.
        """

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, shared_key: Tensor, shared_value: Tensor, *, final: bool
    ) -> Tensor:
        """Return what each row attends to; queries come scaled.

        Query, key, value and the result are (rows, heads, head size), the shared keys and values (heads, places, head
        size); with ``final``, query and result have one row per document: that of its last token. Rows of padding
        may get anything.

        Args:
            query: scaled, shape (rows, heads, head size); with ``final`` one row for each document.
            key: of the rows, shape (rows, heads, head size).
            value: of the rows, of the same shape.
            shared_key: of the shared beginning, shape (heads, places, head size).
            shared_value: of the shared beginning, of the same shape.
            final: whether only the last token of each document is asked for.
        """


def _fold(query: Tensor, key_heads: int) -> Tensor:
    """Return queries (..., tokens, heads, size) as (..., key heads, heads per key head * tokens, size).

    The heads that share a key head become rows beside each other, so that no key is repeated.
    """
    *batch, tokens, heads, size = query.shape
    groups = heads // key_heads
    return query.view(*batch, tokens, key_heads, groups, size).movedim(-4, -2).reshape(*batch, key_heads, -1, size)


def _unfold(attended: Tensor, heads: int) -> Tensor:
    """Undo :func:`_fold`."""
    *batch, key_heads, rows, size = attended.shape
    groups = heads // key_heads
    split = attended.view(*batch, key_heads, groups, rows // groups, size)
    return split.movedim(-2, -4).reshape(*batch, rows // groups, heads, size)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attend with queries (..., tokens, heads, size) to keys and values (..., kv heads, tokens, size).

    ``mask`` is (tokens, tokens seen), or of a shape that fits (..., 1, 1, tokens seen) where each query is alone.
    """
    heads, key_heads = query.shape[-2], key.shape[-3]
    if mask is not None and mask.ndim == 2:
        mask = mask.repeat(heads // key_heads, 1)
    single = query.ndim == 3
    folded = _fold(query, key_heads)
    if single:
        folded, key, value = folded[None], key[None], value[None]
    attended = F.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=1.0)
    return _unfold(attended[0] if single else attended, heads)


# Scores of one call that stay in the processor's caches and in bounded memory.
PRODUCTS_AT_MOST: Final = 1 << 25


def _attend_on_processor(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attend as :func:`_attend` does, for documents of one length, each tensor with a first dimension of documents.

    Below float32 it multiplies matrices itself, which takes half the time of the fused kernel on a processor.
    """
    tokens, heads = query.shape[-3:-1]
    documents, key_heads, seen, _ = key.shape
    if query.dtype == torch.float32 or documents * tokens * heads * seen > PRODUCTS_AT_MOST:
        return _attend(query, key, value, mask)
    rows = _fold(query, key_heads).flatten(0, 1)
    scores = torch.bmm(rows, key.flatten(0, 1).transpose(1, 2))
    if mask is not None:
        # What comes before the queries' own tokens every one of them may see.
        own = scores.view(documents * key_heads, -1, tokens, seen)[..., -tokens:]
        own.masked_fill_(~mask[:, -tokens:], float("-inf"))
    attended = torch.bmm(torch.softmax(scores, dim=-1), value.flatten(0, 1))
    return _unfold(attended.view(documents, key_heads, *attended.shape[1:]), heads)


def head_mask(spans: Spans) -> Tensor:
    """Return where the shared rows may look, of shape (head, shared), on the CPU."""
    return torch.ones(spans.shape.head, spans.shared, dtype=torch.bool).tril(spans.known)


def tail_mask(spans: Spans) -> Tensor:
    """Return where the longest document's rows may look, of shape (longest, shared + longest), on the CPU."""
    longest = spans.shape.longest
    mask = torch.ones(longest, spans.shared + longest, dtype=torch.bool).tril(spans.shared)
    mask[:, : spans.shared] &= spans.visible()
    return mask


class PerDocument(Attention):
    """One call for each length of documents: best on a processor, where no work is wasted on what is masked.

    Its calls depend on the lengths, so it has no shape but the exact one.
    """

    def __init__(self, spans: Spans, device: torch.device) -> None:
        super().__init__(spans, device)
        self._edges = [*spans.starts, spans.shape.head + sum(spans.lengths)]
        self._head_mask = head_mask(spans).to(device)
        self._tail_mask = tail_mask(spans).to(device)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """See :class:`Attention`."""
        return (self.last, self._head_mask, self._tail_mask)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, shared_key: Tensor, shared_value: Tensor, *, final: bool
    ) -> Tensor:
        """See :class:`Attention`."""
        head, shared = self.spans.shape.head, self.spans.shared
        attended = torch.zeros_like(query)  # rows of padding at the end stay what they are
        if head and not final:
            attended[:head] = _attend(query[:head], shared_key, shared_value, self._head_mask)
        for first, stop in self.spans.alike:
            count, start, end = stop - first, self._edges[first], self._edges[stop]
            length = (end - start) // count
            apart = (count, length, -1, query.shape[-1])
            keys, values = (
                torch.cat([before.expand(count, -1, -1, -1), own[start:end].view(apart).transpose(1, 2)], dim=2)
                for before, own in ((shared_key, key), (shared_value, value))
            )
            if final:
                attended[first:stop] = _attend_on_processor(query[first:stop, None], keys, values, None)[:, 0]
            else:
                mask = self._tail_mask[:length, : shared + length]
                found = _attend_on_processor(query[start:end].view(apart), keys, values, mask)
                attended[start:end] = found.flatten(0, 1)
        return attended


class Padded(Attention):
    """One call for all documents, padded for the attention alone: few kernels, where starting one costs much.

    ``_places`` are the rows of a rectangle of (documents, longest), in which a padded place repeats the document's last
    token; ``_back`` tells of each row after the head where it lies there; ``_seen`` is the mask of last tokens, of
    shape (documents, 1, 1, shared + longest).
    """

    def __init__(self, spans: Spans, device: torch.device) -> None:
        super().__init__(spans, device)
        shape = spans.shape
        lasts = torch.tensor(spans.lasts, dtype=torch.long)
        missing = shape.documents - len(spans.lengths)
        # A document that is padding holds one token: the last.
        starts = torch.cat([torch.tensor(spans.starts, dtype=torch.long), lasts[len(lasts) - missing :]])
        offsets = torch.arange(shape.longest)
        real = offsets <= (lasts - starts)[:, None]
        held = real.clone()
        held[len(spans.lengths) :] = False
        flat = held.flatten().nonzero()[:, 0]
        seen = torch.cat([spans.visible().expand(shape.documents, -1), real], dim=1)
        self._head_mask = head_mask(spans).to(device)
        self._tail_mask = tail_mask(spans).to(device)
        self._places = torch.minimum(starts[:, None] + offsets, lasts[:, None]).to(device)
        self._back = F.pad(flat, (0, shape.rows - shape.head - len(flat))).to(device)
        self._seen = seen[:, None, None].to(device)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """See :class:`Attention`."""
        return (self.last, self._head_mask, self._tail_mask, self._places, self._back, self._seen)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, shared_key: Tensor, shared_value: Tensor, *, final: bool
    ) -> Tensor:
        """See :class:`Attention`."""
        head, count = self.spans.shape.head, self.spans.shape.documents
        parts = []
        if head and not final:
            parts.append(_attend(query[:head], shared_key, shared_value, self._head_mask))
        if not count:
            return F.pad(parts[0], (0, 0, 0, 0, 0, len(query) - head)) if parts else query
        keys, values = (
            torch.cat([before.expand(count, -1, -1, -1), own[self._places].transpose(1, 2)], dim=2)
            for before, own in ((shared_key, key), (shared_value, value))
        )
        if final:
            return _attend(query[:, None], keys, values, self._seen)[:, 0]
        # Causality alone keeps real queries off the padding, which comes after them.
        found = _attend(query[self._places], keys, values, self._tail_mask)
        return torch.cat([*parts, found.flatten(0, 1)[self._back]])
