"""A BERT-like encoder on the CPU through OpenVINO: in bfloat16 where the CPU computes in it, otherwise in float32."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from cogs.memory.inference.batches import batches_side_by_side

if TYPE_CHECKING:
    from types import ModuleType

BATCH_TOKENS: Final = 1280
"""Padded tokens of one run; what it computes then stays in the cache (512 to 2048 are within 10 % of each other)."""
PADDING: Final = 32
"""Tokens of padding of one run; starting another one costs as much as about ten tokens."""
LENGTH_STEP: Final = 2
"""Texts are padded to a multiple of this, so that few shapes occur and what was compiled for each can be kept."""
SHAPES_KEPT: Final = 128
"""Compiled shapes that are kept; without a bound the process grows by hundreds of megabytes."""

STREAMS_AT_MOST: Final = 8
"""Batches side by side; each has memory of its own."""

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Part = tuple[Ids, Vectors]


def openvino_module() -> ModuleType:
    """Return OpenVINO, without the telemetry that it would load: nothing here reports to anyone."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


class OpenVinoRunner:
    """Runs an encoder's graph over texts of many lengths, in batches side by side. One call at a time.

    Args:
        graph: ids (or what ``given`` makes of them) and a mask to unit vectors, as ONNX.
        given: padded ids, int64 (rows, tokens) → the graph's input beside ``attention_mask``, by its name.
        threads: by default one for each core.
        settings: of OpenVINO, beside those made here.
    """

    def __init__(
        self,
        graph: bytes,
        given: Callable[[Ids], Mapping[str, Any]],
        threads: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        openvino: Any = openvino_module()
        core = openvino.Core()
        has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.dtype = "bfloat16" if has_bfloat16 else "float32"
        # One thread for each of several batches side by side wastes less than all threads on one small batch.
        cores = threads or os.cpu_count() or 1
        self._streams = min(cores, STREAMS_AT_MOST)
        self._given = given
        chosen = {
            "INFERENCE_PRECISION_HINT": "bf16" if has_bfloat16 else "f32",
            "NUM_STREAMS": self._streams,
            "INFERENCE_NUM_THREADS": cores,
            "ENABLE_CPU_PINNING": False,  # the event loop and the reranker run on the same cores
            "CPU_RUNTIME_CACHE_CAPACITY": SHAPES_KEPT,
            **(settings or {}),
        }
        model = core.compile_model(core.read_model(graph, b""), "CPU", chosen)
        self._queue = openvino.AsyncInferQueue(model, self._streams)
        self._queue.set_callback(_keep)

    def run(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        """Return float32 unit vectors, shape (n, dim), in order; every text needs a token."""
        widths = [-(-len(ids) // LENGTH_STEP) * LENGTH_STEP for ids in token_ids]
        parts: list[Part] = []
        for rows in batches_side_by_side(widths, BATCH_TOKENS, self._streams, PADDING):
            ids = np.zeros((len(rows), widths[rows[-1]]), dtype=np.int64)
            mask = np.zeros_like(ids)
            for line, row in enumerate(rows):
                ids[line, : len(token_ids[row])] = token_ids[row]
                mask[line, : len(token_ids[row])] = 1
            self._queue.start_async({**self._given(ids), "attention_mask": mask}, (rows, parts))
        self._queue.wait_all()
        vectors = np.empty((len(token_ids), parts[0][1].shape[1]), dtype=np.float32)
        for rows, embedding in parts:
            vectors[rows] = embedding
        return vectors


class OpenVinoEncoder:
    """Texts → unit vectors; cosine with float32 ≥ 0.9999 on chat messages. One call at a time.

    Measured beside it on the same chat messages: PyTorch in bfloat16 with all texts in one row, 0.8 times as fast, and
    slow in a process whose other threads run Python; ONNX Runtime in float32, 0.6 times; its INT8, 1.1 times, with a
    cosine of 0.98; its INT8 by blocks, 0.7 times, with 0.998.

    Args:
        folder: where ``tokenizer.json`` lies.
        graph: the encoder with pooling as ONNX; see :func:`cogs.memory.inference.onnx_graphs.cached_graph`.
        max_length: tokens of a text at most.
        threads: by default one for each core.
    """

    def __init__(self, folder: Path, graph: bytes, max_length: int, threads: int | None = None) -> None:
        self._runner = OpenVinoRunner(graph, lambda ids: {"input_ids": ids}, threads)
        self.dtype = self._runner.dtype
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors, shape (n, dim), in the order of ``texts``."""
        return self._runner.run([encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))])


def _keep(request: Any, target: tuple[Ids, list[Part]]) -> None:
    rows, parts = target
    parts.append((rows, request.get_output_tensor(0).data.copy()))
