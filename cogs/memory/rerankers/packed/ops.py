"""Norms, rotary positions and the shapes of dense layers, as suits the kernels of a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = Callable[[Tensor, Any], Tensor]


PIECES: Final = 4
"""Parts of a vector whose lengths are rounded one by one; more of them take longer than they are worth."""


def inverse_rms(x: Tensor, epsilon: float) -> Tensor:
    """Return 1 / sqrt(mean of squares + epsilon) over the last dimension, kept, in the precision of ``x``.

    A length in float32 would take a float32 copy of ``x``, which costs as much as all the rest. So the lengths of
    pieces are taken in the precision of ``x``, and theirs in float32: the roundings of the pieces even out below that
    of the result.
    """
    pieces = x
    if x.dtype != torch.float32 and x.shape[-1] % PIECES == 0:
        pieces = torch.linalg.vector_norm(x.view(*x.shape[:-1], PIECES, x.shape[-1] // PIECES), dim=-1)
    length = torch.linalg.vector_norm(pieces, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.rsqrt(length.square_().div_(x.shape[-1]).add_(epsilon)).to(x.dtype)


def norm_by_length(x: Tensor, module: Any) -> Tensor:
    """Apply a transformers RMSNorm; on a processor in half of the time of the fused kernel."""
    return (x * inverse_rms(x, module.variance_epsilon)).mul_(module.weight)


def norm_fused(x: Tensor, module: Any) -> Tensor:
    """Apply a transformers RMSNorm in one kernel."""
    weight: Tensor = module.weight
    return F.rms_norm(x, weight.shape, weight, module.variance_epsilon)


NORMS: Final[Mapping[str, Norm]] = {"cpu": norm_by_length}
"""What measured best by kind of device; :func:`norm_fused` elsewhere."""


def norm_for(device_type: str) -> Norm:
    """Return the norm that measured best on this kind of device."""
    return NORMS.get(device_type, norm_fused)


def padded_rows(tokens: int) -> int:
    """Return how many rows a dense layer computes for so many tokens.

    oneDNN compiles a kernel for each number of rows and keeps a thousand of them: a gigabyte, if every sum of lengths
    were one. So there are a few dozen numbers, a sixteenth or so apart.
    """
    step = 16 if tokens <= 128 else 32 if tokens <= 1024 else 64
    return -(-tokens // step) * step


class Rotation:
    """Rotary positions of packed tokens.

    transformers rotates by ``x * cos + (-x2, x1) * sin``; with the sign in the sine, the halves only swap.

    Args:
        cos, sin: as transformers computes them, of shape (tokens, head size).
    """

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        half = cos.shape[-1] // 2
        self._cos = cos[:, None]
        self._sin = torch.cat((-sin[:, :half], sin[:, half:]), dim=-1)[:, None]

    def at(self, places: Tensor) -> Rotation:
        """Return the rotation of some of the tokens."""
        rotation = Rotation.__new__(Rotation)
        rotation._cos, rotation._sin = self._cos[places], self._sin[places]
        return rotation

    def apply(self, x: Tensor, norm: Any | None, scale: float = 1.0) -> Tensor:
        """Rotate heads of shape (tokens, heads, head size), after their norm where they have one, and scale them.

        The norm's weight and the scale go into the angles and the norm's length comes last, which saves three passes
        over the heads.
        """
        half = x.shape[-1] // 2
        if norm is None:
            return torch.addcmul(x * (self._cos * scale), x.roll(half, -1), self._sin * scale)
        weight: Tensor = norm.weight * scale
        turned = torch.addcmul(x * (self._cos * weight), x.roll(half, -1), self._sin * weight.roll(half))
        return turned.mul_(inverse_rms(x, norm.variance_epsilon))
