"""A trained encoder without its word table as an ONNX graph of 8-bit weights, as ``mneme-embedder`` is shipped."""

from __future__ import annotations

import copy
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper

from cogs.memory.inference.onnx_graphs import sha256_of

OPSET: Final = 17
_WORDS: Final = "embeddings.word_embeddings.weight"
_POSITIONS: Final = "embeddings.position_embeddings.weight"
_IDS: Final = "embeddings.position_ids"
_TYPES: Final = "embeddings.token_type_ids"
LEAST_ELEMENTS: Final = 4096
LEAST_HALVES: Final = 32
"""Matrices from here on are kept in 8 bits, other constants (positions, biases, norms) in 16."""


class _Pooled(torch.nn.Module):
    """Word vectors and a mask → unit vectors: position and type, the layers, the mean over all tokens."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(inputs_embeds=inputs_embeds, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)


def export_float(encoder: Any, target: Path) -> None:
    """Write the encoder of Transformers as float32 ONNX; inputs ``inputs_embeds`` and ``attention_mask``."""
    width = encoder.config.hidden_size
    vectors = torch.zeros(2, 3, width)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    axes = {0: "batch", 1: "tokens"}
    # The tracer warns about branches on shapes; a test compares the graph with the model over many shapes.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Pooled(encoder).eval(),
            (vectors, mask),
            str(target),
            input_names=["inputs_embeds", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={"inputs_embeds": axes, "attention_mask": axes, "embedding": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def eight_bits(source: Path, target: Path) -> None:
    """Write the graph with each weight matrix in 8 bits, one scale for each column of its product.

    Only the file gets smaller: the weights are unpacked where the graph is loaded, and activations are not touched.
    """
    model = onnx.load(str(source))
    graph = model.graph
    matrices = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    added: list[Any] = []
    for tensor in list(graph.initializer):
        weights = numpy_helper.to_array(tensor)
        if tensor.name not in matrices or weights.ndim != 2 or weights.size < LEAST_ELEMENTS:
            continue
        packed, scale = quantised(weights)
        graph.initializer.remove(tensor)
        graph.initializer.extend(
            [
                numpy_helper.from_array(packed, f"{tensor.name}.q"),
                numpy_helper.from_array(scale, f"{tensor.name}.scale"),
            ]
        )
        inputs = [f"{tensor.name}.q", f"{tensor.name}.scale"]
        added.append(helper.make_node("DequantizeLinear", inputs, [tensor.name], axis=1))
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= LEAST_HALVES and not tensor.name.endswith(".scale"):
            graph.initializer.remove(tensor)
            graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half"))
            added.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(target))


def quantised(weights: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return a matrix (inputs, outputs) in 8 bits with a scale for each output, the scale of least squared error."""
    largest = np.abs(weights).max(axis=0)
    best_scale = np.maximum(largest, 1e-12) / 127
    best_error = np.full(weights.shape[1], np.inf)
    chosen = best_scale.copy()
    for share in np.linspace(0.7, 1.0, 13):
        scale = best_scale * share
        error = ((np.clip(np.rint(weights / scale), -127, 127) * scale - weights) ** 2).sum(axis=0)
        better = error < best_error
        chosen[better], best_error[better] = scale[better], error[better]
    packed = np.clip(np.rint(weights / chosen), -127, 127).astype(np.int8)
    return packed, chosen.astype(np.float32)


def export_folder(encoder: Any, folder: Path, max_length: int, words: Path) -> str:
    """Write ``model.onnx`` and ``mneme.json`` of an encoder of Transformers; return the graph's SHA-256.

    Args:
        encoder: its word vectors are not written, its positions up to ``max_length``.
        folder: where the two files go.
        max_length: tokens of a text at most, the marks included.
        words: the word table that the encoder was trained on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "float.onnx"
        export_float(shortened(encoder, max_length), plain)
        eight_bits(plain, folder / "model.onnx")
    digest = sha256_of(folder / "model.onnx")
    about = {"max_length": max_length, "words_sha256": sha256_of(words), "model_sha256": digest}
    (folder / "mneme.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return digest


def shortened(encoder: Any, max_length: int) -> Any:
    """Return a copy of the encoder with the first ``max_length`` positions alone, computed without fused attention."""
    config = copy.deepcopy(encoder.config)
    config.max_position_embeddings = max_length
    config._attn_implementation = "eager"
    config.vocab_size = 4
    copied = type(encoder)(config, add_pooling_layer=False)
    state = {name: value for name, value in encoder.state_dict().items() if name not in (_WORDS, _IDS, _TYPES)}
    state[_POSITIONS] = state[_POSITIONS][:max_length]
    copied.load_state_dict(state, strict=False)
    return copied.eval()
