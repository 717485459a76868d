"""A BERT-like encoder as an ONNX graph: exported once from its safetensors, kept in the model cache."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModel

log = logging.getLogger(__name__)
EXPORT_VERSION = 1
"""Part of the cache key; raise it where the exported graph changes."""


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _MeanPooled(torch.nn.Module):
    """The encoder with sentence-transformers' mean pooling and normalisation, so that one graph does it all."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)


def _export(folder: Path) -> bytes:
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


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".tmp", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def cached_graph(
    folder: Path,
    weights_sha256: str,
    cache_dir: Path,
    *,
    export: Callable[[Path], bytes] = _export,
    kind: str = "",
) -> bytes:
    """Return the ONNX graph that ``export`` makes of ``folder``, from the cache if an intact one is there.

    The file's name carries the weights' hash and the export's version; its last 32 bytes are the SHA-256 of the rest,
    so a damaged or half-written file is made anew and never run. An unwritable cache costs an export at each start.

    Args:
        folder: the model's folder.
        weights_sha256: of its weights file, 64 hexadecimal digits.
        cache_dir: where graphs are kept.
        export: makes the graph of a folder.
        kind: distinguishes several graphs of the same weights.
    """
    path = cache_dir / f"{weights_sha256[:16]}{kind and '-' + kind}-v{EXPORT_VERSION}.onnx"
    if path.is_file():
        stored = path.read_bytes()
        graph, checksum = stored[:-32], stored[-32:]
        if hashlib.sha256(graph).digest() == checksum:
            return graph
        log.warning("the exported model %s is damaged and is made anew", path.name)
    graph = export(folder)
    try:
        _write_atomically(path, graph + hashlib.sha256(graph).digest())
    except OSError as error:
        log.warning("the exported model cannot be kept in %s: %s", cache_dir, error)
    return graph
