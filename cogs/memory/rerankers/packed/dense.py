"""The dense layers of a packed pass: the model's own weights in place, or laid out as a processor multiplies them."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cogs.memory.rerankers.packed.int8 import Int8Linear

Linear = Callable[[Tensor], Tensor]
Onto = Callable[[Tensor, Tensor], Tensor]
"""``(x, residual) → dense(x) + residual``."""
USUAL_ROWS: Final = 1024
"""What oneDNN is told of the rows of a product when it chooses how weights shall lie; any number may come."""


class DenseKernels(Protocol):
    """How the dense layers of a decoder are computed."""

    def joined(self, modules: Sequence[nn.Module]) -> Linear:
        """Return one layer in place of several that read the same input; its output is theirs, concatenated."""

    def onto(self, module: nn.Module) -> Onto:
        """Return a layer whose output is added to the state before it, which may be overwritten."""

    def gated(self, gate: nn.Module, up: nn.Module, activation: Callable[[Tensor], Tensor]) -> Linear:
        """Return ``activation(gate(x)) · up(x)``."""


class InPlace:
    """The model's weights in place. Layers that are joined become views of the joined one, without a copy.

    Layers with an adapter that is not merged are called one by one.
    """

    def joined(self, modules: Sequence[nn.Module]) -> Linear:
        """See :class:`DenseKernels`."""
        quantized = [module for module in modules if isinstance(module, Int8Linear)]
        if len(quantized) == len(modules):
            return Int8Linear.joined(quantized)
        if any(type(module) is not nn.Linear for module in modules):
            return lambda x: torch.cat([module(x) for module in modules], dim=-1)
        plain: list[Any] = list(modules)
        weight = _joined([module.weight for module in plain])
        bias = None if plain[0].bias is None else _joined([module.bias for module in plain])
        return lambda x: F.linear(x, weight, bias)

    def onto(self, module: nn.Module) -> Onto:
        """See :class:`DenseKernels`."""
        layer = self.joined([module])
        return lambda x, residual: layer(x).add_(residual)

    def gated(self, gate: nn.Module, up: nn.Module, activation: Callable[[Tensor], Tensor]) -> Linear:
        """See :class:`DenseKernels`."""
        layer = self.joined([gate, up])

        def both(x: Tensor) -> Tensor:
            gates, values = layer(x).chunk(2, dim=-1)
            return activation(gates).mul_(values)

        return both


class Prepacked:
    """Weights copied once into the order in which oneDNN multiplies them, which it otherwise does in every product.

    SiLU is fused into its product; a second factor or a residual is not, which takes longer than to add it afterwards.
    The model gives its weights away and can no longer be called itself.
    """

    def joined(self, modules: Sequence[nn.Module]) -> Linear:
        """See :class:`DenseKernels`."""
        weight, bias = _taken(modules)
        return lambda x: _product(x, weight, bias, "none")

    def onto(self, module: nn.Module) -> Onto:
        """See :class:`DenseKernels`."""
        layer = self.joined([module])
        return lambda x, residual: layer(x).add_(residual)

    def gated(self, gate: nn.Module, up: nn.Module, activation: Callable[[Tensor], Tensor]) -> Linear:
        """See :class:`DenseKernels`; the activation is known to be SiLU."""
        weight, bias = _taken([gate])
        values = self.joined([up])
        return lambda x: _product(x, weight, bias, "swish").mul_(values(x))


def kernels_for(backbone: nn.Module, *, give_away: bool) -> DenseKernels:
    """Return the fastest kernels for a decoder: with ``give_away`` they may take its weights.

    Prepacked weights pay where oneDNN multiplies in bfloat16, on processors that do so; in float32 another library
    multiplies, and INT8 layers have kernels of their own.
    """
    dense = [child for layer in backbone.layers for child in _linears(layer)]  # type: ignore[union-attr]
    known = all(type(child) is nn.Linear and child.weight.dtype == torch.bfloat16 for child in dense)
    on_processor = next(backbone.parameters()).device.type == "cpu"
    silu = getattr(backbone.config, "hidden_act", "") == "silu"
    usable = give_away and known and silu and on_processor and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if usable and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return Prepacked()
    return InPlace()


def _linears(layer: Any) -> tuple[Any, ...]:
    attention, mlp = layer.self_attn, layer.mlp
    own = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    return (*own, mlp.gate_proj, mlp.up_proj, mlp.down_proj)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, then: str) -> Tensor:
    # The operator that torch.compile itself puts in the place of a dense layer on a processor.
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "")
    return found


def _taken(modules: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
    """Return the modules' weights, joined and in oneDNN's order, and their biases; the modules keep no weights."""
    plain = torch.cat([module.weight.data for module in modules])
    for module in modules:
        weight, module.weight.data = module.weight.data, torch.empty(0, plain.shape[1], dtype=plain.dtype)
        _let_go(weight)
    bias = None if modules[0].bias is None else torch.cat([module.bias.data for module in modules])
    return torch.ops.mkldnn._reorder_linear_weight(plain, USUAL_ROWS), bias


def _let_go(weight: Tensor) -> None:
    """Return the memory of a weight that is no longer read to the system.

    Weights are mapped from their file as a whole, and the mapping stays while any tensor of it lives: the pages that
    were read for the copy would count as this process's memory to its end, as much again as the copy. A weight that
    is spread among others is left alone; of any other, only whole pages go.
    """
    if sys.platform != "linux" or not weight.is_contiguous():
        return
    first = -(-weight.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (weight.data_ptr() + weight.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end > first:
        # Its return value is of no use: what is not given back is only not given back.
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED)


def _joined(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the parameters in one tensor, and let them be views of it."""
    first = parameters[0].data
    sizes = [len(parameter) for parameter in parameters]
    end = first.data_ptr()
    for parameter in parameters:
        if parameter.data_ptr() != end or parameter.untyped_storage().data_ptr() != first.untyped_storage().data_ptr():
            break
        end += parameter.nbytes
    else:
        # They lie side by side already.
        return first.as_strided((sum(sizes), *first.shape[1:]), first.stride())
    whole = torch.cat([parameter.data for parameter in parameters])
    for parameter, part in zip(parameters, torch.split(whole, sizes), strict=True):
        parameter.data = part
    return whole
