"""How packed documents attend to the shared beginning and to themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Padding:
    """A rectangle of (documents, longest) places in a packed row; a padded place repeats the document's last token.

    ``real`` are the flat places in the rectangle that are no padding, in the row's order; ``seen`` is the mask of a
    last token, of shape (documents, 1, 1, shared + longest).
    """

    places: Tensor
    real: Tensor
    seen: Tensor


@dataclass(frozen=True, slots=True)
class Spans:
    """Where things lie in a packed row; made once for all layers.

    ``head`` is the number of its first tokens that all documents share; ``documents`` are (start, end) of each
    document; ``alike`` are (first, end) of runs of documents of one length; ``shared`` counts every shared token, those
    before the row included; ``last`` are the places of the documents' last tokens; ``mask`` is the causal mask of the
    longest document after the shared tokens, of shape (longest, shared + longest), true where a token may look, and
    ``head_mask`` that of the head, (head, shared). ``padding`` is how the documents lie in a padded rectangle.
    """

    head: int
    documents: tuple[tuple[int, int], ...]
    alike: tuple[tuple[int, int], ...]
    shared: int
    last: Tensor
    mask: Tensor
    head_mask: Tensor
    padding: Padding

    @classmethod
    def of(cls, head: int, lengths: Sequence[int], shared: int, device: torch.device) -> Spans:
        """Lay out ``head`` shared tokens and documents of these ``lengths``."""
        documents = []
        start = head
        for length in lengths:
            documents.append((start, start + length))
            start += length
        edges = [n for n in range(1, len(lengths)) if lengths[n] != lengths[n - 1]]
        alike = tuple(pairwise([0, *edges, len(lengths)])) if lengths else ()
        last = torch.tensor([end - 1 for _, end in documents], dtype=torch.long, device=device)
        longest = max(lengths, default=0)
        mask = torch.ones(longest, shared + longest, dtype=torch.bool, device=device).tril(shared)
        head_mask = torch.ones(head, shared, dtype=torch.bool, device=device).tril(shared - head)
        starts = torch.tensor([start for start, _ in documents], dtype=torch.long, device=device)
        offsets = torch.arange(longest, device=device)
        real = offsets <= (last - starts)[:, None]
        padding = Padding(
            places=torch.minimum(starts[:, None] + offsets, last[:, None]),
            real=real.flatten().nonzero()[:, 0],
            seen=F.pad(real, (shared, 0), value=True)[:, None, None],
        )
        return cls(head, tuple(documents), alike, shared, last, mask, head_mask, padding)


Attention = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Spans, bool], Tensor]
"""``(query, key, value, shared_key, shared_value, spans, final) → attended``; queries come scaled.

Query, key, value and the result are (tokens, heads, head size), the shared keys and values (heads, tokens, head size);
with ``final``, query and result have one row per document: that of its last token.
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
    """The same for documents of one length, (documents, …) each; below float32 by plain products, which take half of
    the time of the fused kernel there."""
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


def per_document(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shared_key: Tensor,
    shared_value: Tensor,
    spans: Spans,
    final: bool,
) -> Tensor:
    """One call for each length of documents: best on a processor, where no work is wasted on what is masked."""
    attended = torch.zeros_like(query)  # rows of padding at the end stay what they are
    if spans.head and not final:
        attended[: spans.head] = _attend(query[: spans.head], shared_key, shared_value, spans.head_mask)
    for first, stop in spans.alike:
        count, start, end = stop - first, spans.documents[first][0], spans.documents[stop - 1][1]
        length = (end - start) // count
        apart = (count, length, -1, query.shape[-1])
        keys, values = (
            torch.cat([shared.expand(count, -1, -1, -1), own[start:end].view(apart).transpose(1, 2)], dim=2)
            for shared, own in ((shared_key, key), (shared_value, value))
        )
        if final:
            attended[first:stop] = _attend_on_processor(query[first:stop, None], keys, values, None)[:, 0]
        else:
            mask = spans.mask[:length, : spans.shared + length]
            found = _attend_on_processor(query[start:end].view(apart), keys, values, mask)
            attended[start:end] = found.flatten(0, 1)
    return attended


def padded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shared_key: Tensor,
    shared_value: Tensor,
    spans: Spans,
    final: bool,
) -> Tensor:
    """One call for all documents, padded for the attention alone: best where starting a kernel costs much."""
    attended = torch.zeros_like(query)  # rows of padding at the end stay what they are
    if spans.head and not final:
        attended[: spans.head] = _attend(query[: spans.head], shared_key, shared_value, spans.head_mask)
    if not spans.documents:
        return attended
    padding = spans.padding
    count = len(spans.documents)
    keys = torch.cat([shared_key.expand(count, -1, -1, -1), key[padding.places].transpose(1, 2)], dim=2)
    values = torch.cat([shared_value.expand(count, -1, -1, -1), value[padding.places].transpose(1, 2)], dim=2)
    if final:
        return _attend(query[:, None], keys, values, padding.seen)[:, 0]
    # Causality alone keeps real queries off the padding, which comes after them.
    result = _attend(query[padding.places], keys, values, spans.mask)
    attended[spans.head : spans.head + len(padding.real)] = result.flatten(0, 1)[padding.real]
    return attended


STRATEGIES: Final[Mapping[str, Attention]] = {"per_document": per_document, "padded": padded}
BEST: Final[Mapping[str, str]] = {"cpu": "per_document"}
"""What measured best by kind of device; ``padded`` elsewhere."""


def attention_for(device_type: str, name: Literal["per_document", "padded"] | None = None) -> Attention:
    """Return the attention called ``name``, or what measured best on this kind of device."""
    return STRATEGIES[name or BEST.get(device_type, "padded")]
