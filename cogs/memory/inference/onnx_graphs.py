"""A BERT-like encoder as an ONNX graph: exported once from its safetensors, kept in the model cache."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)
EXPORT_VERSION = 1
"""Part of the cache key; raise it where the exported graph changes."""


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mean_pooled(folder: Path) -> bytes:
    from cogs.memory.inference.bert_export import mean_pooled_graph  # it takes PyTorch, which a cached graph does not

    return mean_pooled_graph(folder)


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
    export: Callable[[Path], bytes] = _mean_pooled,
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
        with path.open("rb") as file:
            graph = file.read(max(0, path.stat().st_size - 32))
            checksum = file.read()
        if hashlib.sha256(graph).digest() == checksum:
            return graph
        log.warning("the exported model %s is damaged and is made anew", path.name)
    graph = export(folder)
    try:
        _write_atomically(path, graph + hashlib.sha256(graph).digest())
    except OSError as error:
        log.warning("the exported model cannot be kept in %s: %s", cache_dir, error)
    return graph
