"""How packed documents attend to the shared beginning and to themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Spans:
    """Where things lie in a packed row.

    ``head`` is the number of its first tokens that all documents share; ``documents`` are (start, end) of each
    document; ``shared`` counts every shared token, those before the row included; ``last`` are the places of the
    documents' last tokens; ``mask`` is the causal mask of the longest piece after the shared tokens, of shape
    (longest, shared + longest), true where a token may look.
    """

    head: int
    documents: tuple[tuple[int, int], ...]
    shared: int
    last: Tensor
    mask: Tensor

    @classmethod
    def of(cls, head: int, lengths: Sequence[int], shared: int, device: torch.device) -> Spans:
        """Lay out ``head`` shared tokens and documents of these ``lengths``."""
        documents = []
        start = head
        for length in lengths:
            documents.append((start, start + length))
            start += length
        last = torch.tensor([end - 1 for _, end in documents], dtype=torch.long, device=device)
        longest = max(lengths, default=0)
        mask = torch.ones(longest, shared + longest, dtype=torch.bool, device=device).tril(shared)
        return cls(head, tuple(documents), shared, last, mask)


Attention = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Spans, float, bool], Tensor]
"""``(query, key, value, shared_key, shared_value, spans, scale, final) → attended``.

Query, key, value and the result are (tokens, heads, head size), the shared keys and values (heads, tokens, head size);
with ``final``, query and result have one row per document: that of its last token.
"""


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attend with queries (tokens, heads, size) to keys and values (kv heads, tokens, size)."""
    grouped = query.shape[1] != key.shape[0]
    attended = F.scaled_dot_product_attention(
        query.transpose(0, 1)[None], key[None], value[None], attn_mask=mask, scale=scale, enable_gqa=grouped
    )
    return attended[0].transpose(0, 1)


# Scores of one call that stay in the processor's caches and in bounded memory.
PRODUCTS_AT_MOST: Final = 1 << 25


def _attend_on_processor(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """The same; below float32 by plain products, which take half of the time of the fused kernel there.

    The heads that share a key head become rows of one product.
    """
    tokens, heads, size = query.shape
    if query.dtype == torch.float32 or tokens * heads * key.shape[1] > PRODUCTS_AT_MOST:
        return _attend(query, key, value, mask, scale)
    groups = heads // key.shape[0]
    rows = query.view(tokens, -1, groups, size).permute(1, 2, 0, 3).reshape(len(key), groups * tokens, size)
    scores = torch.bmm(rows * scale, key.transpose(1, 2)).view(len(key), groups, tokens, -1)
    if mask is not None:
        scores.masked_fill_(~mask, float("-inf"))
    weights = torch.softmax(scores, dim=-1).view(len(key), groups * tokens, -1)
    attended = torch.bmm(weights, value).view(len(key), groups, tokens, size)
    return attended.permute(2, 0, 1, 3).reshape(tokens, heads, size)


def _attend_head(query: Tensor, shared_key: Tensor, shared_value: Tensor, spans: Spans, scale: float) -> Tensor:
    known = spans.shared - spans.head
    mask = torch.ones(spans.head, spans.shared, dtype=torch.bool, device=query.device).tril(known)
    return _attend(query, shared_key, shared_value, mask, scale)


def per_document(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shared_key: Tensor,
    shared_value: Tensor,
    spans: Spans,
    scale: float,
    final: bool,
) -> Tensor:
    """One call for each document: best on a processor, where no work is wasted on what is masked."""
    attended = torch.empty_like(query)
    if spans.head and not final:
        attended[: spans.head] = _attend_head(query[: spans.head], shared_key, shared_value, spans, scale)
    for number, (start, end) in enumerate(spans.documents):
        keys = torch.cat([shared_key, key[start:end].transpose(0, 1)], dim=1)
        values = torch.cat([shared_value, value[start:end].transpose(0, 1)], dim=1)
        if final:
            attended[number : number + 1] = _attend_on_processor(query[number : number + 1], keys, values, None, scale)
        else:
            length = end - start
            mask = spans.mask[:length, : spans.shared + length]
            attended[start:end] = _attend_on_processor(query[start:end], keys, values, mask, scale)
    return attended


def padded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shared_key: Tensor,
    shared_value: Tensor,
    spans: Spans,
    scale: float,
    final: bool,
) -> Tensor:
    """One call for all documents, padded for the attention alone: best where starting a kernel costs much."""
    attended = torch.empty_like(query)
    if spans.head and not final:
        attended[: spans.head] = _attend_head(query[: spans.head], shared_key, shared_value, spans, scale)
    if not spans.documents:
        return attended
    device = query.device
    starts = torch.tensor([start for start, _ in spans.documents], device=device)
    ends = torch.tensor([end for _, end in spans.documents], device=device)
    count, longest = len(spans.documents), len(spans.mask)
    offsets = torch.arange(longest, device=device)
    # A padded place repeats the document's last token; no real query may look there.
    places = torch.minimum(starts[:, None] + offsets, ends[:, None] - 1)
    real = offsets < (ends - starts)[:, None]
    keys = torch.cat([shared_key.expand(count, -1, -1, -1), key[places].transpose(1, 2)], dim=2)
    values = torch.cat([shared_value.expand(count, -1, -1, -1), value[places].transpose(1, 2)], dim=2)
    grouped = query.shape[1] != key.shape[1]
    if final:
        seen = torch.cat([torch.ones(count, spans.shared, dtype=torch.bool, device=device), real], dim=1)
        return F.scaled_dot_product_attention(
            query[:, :, None], keys, values, attn_mask=seen[:, None, None], scale=scale, enable_gqa=grouped
        )[:, :, 0]
    # Causality alone keeps real queries off the padding, which comes after them.
    result = F.scaled_dot_product_attention(
        query[places].transpose(1, 2), keys, values, attn_mask=spans.mask, scale=scale, enable_gqa=grouped
    )
    attended[spans.head :] = result.transpose(1, 2)[real]
    return attended


STRATEGIES: Final[Mapping[str, Attention]] = {"per_document": per_document, "padded": padded}
BEST: Final[Mapping[str, str]] = {"cpu": "per_document"}
"""What measured best by kind of device; ``padded`` elsewhere."""


def attention_for(device_type: str, name: Literal["per_document", "padded"] | None = None) -> Attention:
    """Return the attention called ``name``, or what measured best on this kind of device."""
    return STRATEGIES[name or BEST.get(device_type, "padded")]
