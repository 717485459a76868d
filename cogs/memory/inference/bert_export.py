"""A BERT-like encoder as an ONNX graph, exported by PyTorch; where the graph is cached, nobody imports this."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from transformers import AutoModel


class _MeanPooled(torch.nn.Module):
    """The encoder with sentence-transformers' mean pooling and normalisation, so that one graph does it all."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)


def mean_pooled_graph(folder: Path) -> bytes:
    """Return the graph of an encoder in a folder: token ids and mask → one unit vector for each row."""
    encoder = AutoModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, attn_implementation="eager", dtype=torch.float32
    ).eval()
    ids = torch.tensor([[101, 7592, 102], [101, 102, 0]])
    axes = {"input_ids": {0: "batch", 1: "tokens"}, "attention_mask": {0: "batch", 1: "tokens"}}
    # The tracer warns about branches on shapes; the test compares the graph with the model over many shapes.
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(scratch) / "encoder.onnx"
        torch.onnx.export(
            _MeanPooled(encoder),
            (ids, (ids != 0).long()),
            path,
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={**axes, "embedding": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        return path.read_bytes()
