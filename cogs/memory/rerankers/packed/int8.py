"""Dense layers in INT8: weights per output channel, activations per token as they come, sums in INT32.

It changes scores; it is used only where the operator asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# The integer product's kernels want whole blocks: widths in eights and, on a GPU, more than sixteen rows.
BLOCK = 8
FEWEST_ROWS = 17
# What is rescaled after the product stays in the processor's caches: 2.5 times faster than all rows at once there.
ROWS_AT_ONCE = 256


class Int8Linear(nn.Module):
    """A dense layer whose product is computed in integers.

    ``weight`` is INT8 of shape (out, in), ``scale`` float32 of shape (out,): the layer's weight is their product.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = bias

    @classmethod
    def of(cls, layer: nn.Linear) -> Int8Linear:
        """Quantize a layer symmetrically, each output channel by its largest weight."""
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(1).clamp_(min=torch.finfo(torch.float32).tiny).div_(127)
        quantized = (weight / scale[:, None]).round_().to(torch.int8)
        return cls(quantized, scale, None if layer.bias is None else layer.bias.detach())

    @classmethod
    def joined(cls, layers: Sequence[Int8Linear]) -> Int8Linear:
        """Return one layer whose output is that of ``layers`` side by side; their weights become views of its."""
        whole = cls(
            torch.cat([layer.weight for layer in layers]),
            torch.cat([layer.scale for layer in layers]),
            None if layers[0].bias is None else torch.cat([layer.bias for layer in layers if layer.bias is not None]),
        )
        sizes = [layer.out_features for layer in layers]
        for layer, weight in zip(layers, torch.split(whole.weight, sizes), strict=True):
            layer.weight = weight
        return whole

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output for ``x`` of shape (..., in), in the precision of ``x``."""
        rows = x.reshape(-1, self.in_features)
        result = torch.empty(len(rows), self.out_features, dtype=x.dtype, device=x.device)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            piece = rows[start : start + ROWS_AT_ONCE]
            quantized, scale = quantize_rows(piece)
            sums = torch._int_mm(quantized, self.weight.t())[: len(piece)].float()
            result[start : start + ROWS_AT_ONCE] = sums.mul_(scale).mul_(self.scale)
        if self.bias is not None:
            result.add_(self.bias)
        return result.view(*x.shape[:-1], self.out_features)


def quantize_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows in INT8, padded to the fewest that the product takes, and their scales of shape (rows, 1)."""
    largest = torch.maximum(rows.amax(1, keepdim=True), -rows.amin(1, keepdim=True)).float()
    scale = largest.clamp_(min=torch.finfo(torch.float32).tiny).div_(127)
    quantized = (rows.float() / scale).round_().to(torch.int8)
    if len(rows) < FEWEST_ROWS:
        quantized = nn.functional.pad(quantized, (0, 0, 0, FEWEST_ROWS - len(rows)))
    return quantized, scale


def quantize(module: nn.Module) -> None:
    """Replace the dense layers under ``module`` by INT8 ones; those of odd widths stay as they are."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            if child.in_features % BLOCK == 0 and child.out_features % BLOCK == 0:
                setattr(module, name, Int8Linear.of(child))
        else:
            quantize(child)
