"""The model: the lower layers of a BERT over each text alone, its upper layers over both, and a head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

WIDTH: Final = 384
INNER: Final = 1536
HEADS: Final = 12
EPSILON: Final = 1e-12
CLOSE: Final = 0.8
"""A usual cosine of two texts in the base's vectors, taken off so that unlike ones count as such."""


class Block(nn.Module):
    """One layer of BERT: attention, then a feed-forward part, each normalised after it is added."""

    def __init__(self, width: int = WIDTH, inner: int = INNER, heads: int = HEADS) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None, dropout: float = 0.0) -> torch.Tensor:
        """Return the output of ``x`` (texts, tokens, width); ``mask`` (texts, 1, 1, tokens) is true for tokens."""
        texts, tokens, width = x.shape
        parts = self.qkv(x).view(texts, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=mask)
        merged = attended.transpose(1, 2).reshape(texts, tokens, width)
        x = self.norm1(x + functional.dropout(self.out(merged), dropout, self.training))
        fed = self.down(functional.gelu(self.up(x)))
        found: torch.Tensor = self.norm2(x + functional.dropout(fed, dropout, self.training))
        return found


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a Transformers folder of BERT, float32, without the prefix ``bert.``."""
    return {
        name.removeprefix("bert."): value.float() for name, value in load_file(folder / "model.safetensors").items()
    }


def load_block(block: Block, weights: Mapping[str, torch.Tensor], number: int) -> None:
    """Fill a block with layer ``number`` of a BERT."""
    start = f"encoder.layer.{number}."
    names = {
        "out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    }
    state = {
        f"{own}.{kind}": weights[f"{start}{name}.{kind}"] for own, name in names.items() for kind in ("weight", "bias")
    }
    for kind in ("weight", "bias"):
        parts = [weights[f"{start}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
        state[f"qkv.{kind}"] = torch.cat(parts)
    block.load_state_dict(state)


class Lower(nn.Module):
    """Positions and the first layers over one text.

    Args:
        layers: how many layers.
        width: the hidden size.
        inner: the size of the feed-forward layer.
        heads: attention heads.
        places: positions, and so the tokens of a text at most.
    """

    def __init__(
        self, layers: int, width: int = WIDTH, inner: int = INNER, heads: int = HEADS, places: int = 512
    ) -> None:
        super().__init__()
        self.places = nn.Embedding(places, width)
        self.kind = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.blocks = nn.ModuleList(Block(width, inner, heads) for _ in range(layers))

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor], layers: int, places: int) -> Lower:
        """Return the first layers of a BERT, for texts of at most ``places`` tokens."""
        found = cls(layers, places=places)
        found.places.weight.data.copy_(weights["embeddings.position_embeddings.weight"][:places])
        found.kind.data.copy_(weights["embeddings.token_type_embeddings.weight"][0])
        found.norm.weight.data.copy_(weights["embeddings.LayerNorm.weight"])
        found.norm.bias.data.copy_(weights["embeddings.LayerNorm.bias"])
        for number, block in enumerate(found.blocks):
            assert isinstance(block, Block)
            load_block(block, weights, number)
        return found.eval()

    def forward(
        self, inputs_embeds: torch.Tensor, position_ids: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return hidden states (texts, tokens, width) of word vectors of that shape."""
        x: torch.Tensor = self.norm(inputs_embeds + self.places(position_ids) + self.kind)
        for block in self.blocks:
            x = block(x, mask)
        return x


class Upper(nn.Module):
    """The last layers over question and message together, and the head that gives one logit.

    The head reads the first token and the means of both texts, what they have in common, and how close they are.
    """

    def __init__(self, layers: int, width: int = WIDTH, inner: int = INNER, heads: int = HEADS) -> None:
        super().__init__()
        self.side = nn.Parameter(torch.empty(2, width))
        self.blocks = nn.ModuleList(Block(width, inner, heads) for _ in range(layers))
        self.hidden = nn.Linear(4 * width, width)
        self.score = nn.Linear(width, 1)
        self.closeness = nn.Parameter(torch.tensor(5.0))
        nn.init.normal_(self.side, std=0.02)
        nn.init.normal_(self.score.weight, std=0.02)

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor], layers: int, before: int) -> Upper:
        """Return the layers of a BERT that follow the first ``before``, with a new head."""
        found = cls(layers)
        for number, block in enumerate(found.blocks):
            assert isinstance(block, Block)
            load_block(block, weights, before + number)
        return found

    def forward(
        self, hidden_states: torch.Tensor, second: torch.Tensor, real: torch.Tensor | None = None, dropout: float = 0.0
    ) -> torch.Tensor:
        """Return logits (pairs,).

        Args:
            hidden_states: of question and message one after the other, (pairs, tokens, width).
            second: which tokens are the message's, bool (pairs, tokens).
            real: which are no padding, or ``None`` where there is none.
            dropout: of both parts of each layer, in training.
        """
        x = hidden_states + torch.where(second.unsqueeze(-1), self.side[1], self.side[0])
        mask = None if real is None else real[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask, dropout)
        x = x.float()
        first = ~second if real is None else real & ~second
        last = second if real is None else real & second
        question, message = _mean(x, first), _mean(x, last)
        parts = torch.cat([x[:, 0], question, message, question * message], dim=1)
        close = functional.cosine_similarity(question, message, dim=1) - CLOSE
        found: torch.Tensor = self.score(torch.tanh(self.hidden(parts))).squeeze(1) + self.closeness * close
        return found


def _mean(x: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    weights = which.unsqueeze(-1).to(x.dtype)
    return (x * weights).sum(1) / weights.sum(1)
