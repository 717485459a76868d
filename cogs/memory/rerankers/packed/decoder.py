"""A decoder's forward pass over many documents in one row: no padding, and the prompt's beginning only once.

Each document attends to the shared beginning and to itself, at the positions that it would have if it alone followed
the beginning, so the result is that of the published code up to rounding. The last layer is computed only where a
score is read, and of the output head only the rows that make the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from cogs.memory.rerankers.packed.attention import Attention
from cogs.memory.rerankers.packed.dense import DenseKernels, kernels_for
from cogs.memory.rerankers.packed.kernels import STRATEGIES, Strategy, best_for
from cogs.memory.rerankers.packed.ops import Norm, Rotation, norm_for, padded_rows
from cogs.memory.rerankers.packed.prefix_cache import KeyValues
from cogs.memory.rerankers.packed.spans import Spans

PACKABLE: Final = frozenset({"Qwen2Model", "Qwen3Model", "Qwen3VLTextModel"})
"""The decoders whose layers this forward pass computes: attention everywhere, SwiGLU, rotary positions."""


def can_pack(backbone: nn.Module) -> bool:
    """Tell whether a decoder can be packed: a known class with full attention in every layer."""
    config: Any = backbone.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return type(backbone).__name__ in PACKABLE and kinds == {"full_attention"}


class PackedDecoder:
    """Runs a loaded transformers decoder over packed documents and reads the state of each one's last token.

    Args:
        backbone: the decoder without its head, as :func:`can_pack` accepts it.
        attention: how documents attend; by default what suits the device.
        give_away: whether the decoder may take the backbone's weights where that is faster; the backbone cannot be
            called any more then. By default they are used in place.
    """

    def __init__(
        self,
        backbone: nn.Module,
        attention: Strategy | None = None,
        *,
        give_away: bool = False,
    ) -> None:
        if not can_pack(backbone):
            raise ValueError(f"{type(backbone).__name__} cannot be packed")
        parts: Any = backbone
        self._embed: nn.Module = parts.embed_tokens
        self.vocabulary = int(parts.embed_tokens.num_embeddings)
        self._rotary: nn.Module = parts.rotary_emb
        self._final_norm: Any = parts.norm
        self.device: torch.device = next(backbone.parameters()).device
        kernels = kernels_for(backbone, give_away=give_away)
        last = len(parts.layers) - 1
        self._layers = [_Layer(layer, number == last, kernels) for number, layer in enumerate(parts.layers)]
        self.attention: type[Attention] = STRATEGIES[attention or best_for(self.device.type)]
        self._norm: Norm = norm_for(self.device.type)

    @torch.inference_mode()
    def forward(
        self, past: KeyValues | None, head: Sequence[int], tails: Sequence[Sequence[int]]
    ) -> tuple[Tensor, KeyValues]:
        """Compute ``head`` after ``past``, and each of ``tails`` after both.

        Args:
            past: the state of the tokens before ``head``, or ``None`` where it begins the prompt.
            head: the tokens that all documents share and whose state is not known yet; may be empty if ``past`` is
                given.
            tails: the tokens of each document, none of them empty. Without any, only the state is computed.

        Returns:
            The normed hidden state of each tail's last token, of shape (documents, hidden size), and the state of
            ``past`` and ``head`` together.
        """
        known = 0 if past is None else len(past)
        shared = known + len(head)
        if not shared or not all(tails):
            raise ValueError("a packed pass needs a shared beginning and no empty document")
        lengths = [len(tail) for tail in tails]
        spans = Spans.exactly(known, len(head), lengths, padded_rows(len(head) + sum(lengths)))
        ids, positions = spans.rows(head, tails).to(self.device), spans.positions().to(self.device)
        return self.compute(ids, positions, past, self.attention(spans, self.device))

    @torch.inference_mode()
    def compute(
        self, ids: Tensor, positions: Tensor, past: KeyValues | None, attention: Attention
    ) -> tuple[Tensor, KeyValues]:
        """Compute rows of tokens, all on the device; returns as :meth:`forward` does.

        Nothing here depends on what the tensors hold or asks the device for it.
        """
        hidden: Tensor = self._embed(ids)
        cos, sin = self._rotary(hidden[None], positions[None])
        rotation = Rotation(cos[0], sin[0])
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for number, layer in enumerate(self._layers):
            before = None if past is None else (past.keys[number], past.values[number])
            hidden, key, value = layer.forward(hidden, rotation, before, attention, self._norm)
            keys.append(key)
            values.append(value)
        return self._norm(hidden, self._final_norm), KeyValues(tuple(keys), tuple(values))


class _Layer:
    """One decoder layer, its dense parts joined where they read the same input.

    In the ``final`` layer only the states at each document's last token are computed.
    """

    def __init__(self, layer: Any, final: bool, kernels: DenseKernels) -> None:
        self._final = final
        attention, mlp = layer.self_attn, layer.mlp
        self._head_size: int = attention.head_dim
        self._scale: float = attention.scaling
        self._norms = (layer.input_layernorm, layer.post_attention_layernorm)
        self._head_norms = (getattr(attention, "q_norm", None), getattr(attention, "k_norm", None))
        projections = [attention.q_proj, attention.k_proj, attention.v_proj]
        if final:
            self._query, self._key_value = kernels.joined(projections[:1]), kernels.joined(projections[1:])
        else:
            self._query_key_value = kernels.joined(projections)
        self._out = kernels.onto(attention.o_proj)
        self._gated = kernels.gated(mlp.gate_proj, mlp.up_proj, mlp.act_fn)
        self._down = kernels.onto(mlp.down_proj)
        self._widths = [int(projection.out_features) for projection in projections]

    def forward(
        self,
        hidden: Tensor,
        rotation: Rotation,
        before: tuple[Tensor, Tensor] | None,
        attention: Attention,
        norm: Norm,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next hidden states, and keys and values of the shared beginning (kv heads, tokens, size).

        Hidden states are (tokens, hidden size); the final layer returns those of each document's last token.
        """
        final, head = self._final, attention.spans.shape.head
        normed = norm(hidden, self._norms[0])
        if final:
            # Only keys and values of the other tokens matter any more.
            key, value = torch.split(self._key_value(normed), self._widths[1:], dim=-1)
            query = self._query(normed[attention.last])
            hidden = hidden[attention.last]
        else:
            query, key, value = torch.split(self._query_key_value(normed), self._widths, dim=-1)
        size = self._head_size
        query, key, value = (part.view(len(part), part.shape[1] // size, size) for part in (query, key, value))
        query_norm, key_norm = self._head_norms
        query = (rotation.at(attention.last) if final else rotation).apply(query, query_norm, self._scale)
        key = rotation.apply(key, key_norm)
        shared_key, shared_value = key[:head].transpose(0, 1), value[:head].transpose(0, 1)
        if before is not None:
            shared_key = torch.cat([before[0], shared_key], dim=1) if head else before[0]
            shared_value = torch.cat([before[1], shared_value], dim=1) if head else before[1]
        attended = attention.attend(query, key, value, shared_key, shared_value, final=final)
        hidden = self._out(attended.flatten(-2), hidden)
        hidden = self._down(self._gated(norm(hidden, self._norms[1])), hidden)
        return hidden, shared_key.contiguous(), shared_value.contiguous()
