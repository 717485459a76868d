"""BERT and XLM-R cross-encoders (BAAI/bge-reranker-v2-m3, cross-encoder/ms-marco-MiniLM-L*): pair in, one logit out.

Sources: the models' cards, https://huggingface.co/BAAI/bge-reranker-v2-m3 and
https://huggingface.co/cross-encoder/ms-marco-MiniLM-L12-v2. Options of an entry: ``head`` is ``single`` (one logit)
or ``last`` (two labels, the last means relevant; their difference is the log-odds).
"""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from transformers import AutoConfig, AutoModelForSequenceClassification

from cogs.memory.inference.model_folders import require_folder, require_safetensors
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.onnx_graphs import cached_graph, sha256_of
from cogs.memory.rerankers.pairs import Logits, OnnxPairScorer, PairBatch, PairEncoder, PairReranker, PairScorer

FAMILIES: Final = frozenset({"bert", "xlm-roberta", "roberta", "electra", "distilbert"})
LARGEST_GRAPH_BYTES: Final = 1_500_000_000
"""An ONNX file cannot hold 2 GB; larger weights (bge-reranker-v2-m3: 2.3 GB) run in PyTorch."""


class _Logits(torch.nn.Module):
    """The classifier with plain tensors in and out, so that the exporter sees one graph."""

    def __init__(self, model: torch.nn.Module, types: bool) -> None:
        super().__init__()
        self.model, self.types = model, types

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, *types: torch.Tensor) -> torch.Tensor:
        more = {"token_type_ids": types[0]} if self.types else {}
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **more).logits
        return logits


class TorchPairScorer:
    """The classifier in PyTorch, for GPUs and for weights too large for one ONNX file."""

    workers = 1

    def __init__(self, model: torch.nn.Module, device: str, dtype: torch.dtype, types: bool) -> None:
        self._model = _Logits(model.to(device, dtype), types).eval()
        self._device, self._types = device, types

    @torch.inference_mode()
    def __call__(self, batch: PairBatch) -> Logits:
        """Return float32 logits, shape (rows, labels)."""
        arrays = [batch.input_ids, batch.attention_mask, *([batch.token_type_ids] if self._types else [])]
        logits: Logits = (
            self._model(*(torch.from_numpy(array).to(self._device) for array in arrays)).float().cpu().numpy()
        )
        return logits


def _model(folder: Path, attention: str = "eager") -> torch.nn.Module:
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        attn_implementation=attention,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        raise RerankerUnavailable(
            f"The checkpoint in {folder} has no weights for {missing[0]}; random ones would score nonsense."
        )
    found: torch.nn.Module = model.eval()
    return found


def _uses_types(folder: Path) -> bool:
    return int(getattr(AutoConfig.from_pretrained(folder, local_files_only=True), "type_vocab_size", 0)) > 1


def export(folder: Path) -> bytes:
    """Return the classifier as an ONNX graph in float32, with the batch and the length left open."""
    types = _uses_types(folder)
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]])
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    axes = {name: {0: "batch", 1: "tokens"} for name in names}
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    inputs = (ids, mask, torch.zeros_like(ids)) if types else (ids, mask)
    # The tracer warns about branches on shapes; the test compares the graph with the model over many shapes.
    with tempfile.TemporaryDirectory() as scratch, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(scratch) / "classifier.onnx"
        torch.onnx.export(
            _Logits(_model(folder), types),
            inputs,
            path,
            input_names=names,
            output_names=["logits"],
            dynamic_axes={**axes, "logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        return path.read_bytes()


def export_int8(folder: Path) -> bytes:
    """Return the graph with INT8 weights (per channel) and activations quantized as they come.

    Seven of the eight bits are used, so that sums do not overflow on CPUs without VNNI.
    """
    with tempfile.TemporaryDirectory() as scratch:
        plain, prepared, small = (Path(scratch) / f"{name}.onnx" for name in ("plain", "prepared", "small"))
        plain.write_bytes(export(folder))
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(
            prepared,
            small,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["MatMul", "Gemm"],
        )
        return small.read_bytes()


def _scorer(folder: Path, files: list[Path], options: LoadOptions) -> tuple[PairScorer, int]:
    size = sum(file.stat().st_size for file in files)
    if options.device != "cpu" or size > LARGEST_GRAPH_BYTES:
        dtype = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
        return TorchPairScorer(_model(folder, "sdpa"), options.device, dtype, _uses_types(folder)), options.batch_tokens
    # The configuration decides the graph as much as the weights do.
    whole = hashlib.sha256("".join(sha256_of(file) for file in [*files, folder / "config.json"]).encode()).hexdigest()
    int8 = options.dtype == "int8"
    graph = cached_graph(
        folder,
        whole,
        options.models_dir / "onnx",
        export=export_int8 if int8 else export,
        kind="pair-int8" if int8 else "pair",
    )
    scorer = OnnxPairScorer(graph, options.threads)
    return scorer, min(options.batch_tokens, scorer.batch_tokens)


def load(spec: RerankerSpec, options: LoadOptions) -> PairReranker:
    """Load a sequence-classification checkpoint: ONNX Runtime on the CPU (INT8 where the profile says so).

    Raises:
        RerankerUnavailable: files are missing, the architecture is another, or the head does not fit ``head``.
    """
    folder = require_folder(spec, options)
    files = require_safetensors(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in FAMILIES:
        raise RerankerUnavailable(
            f"The format cross-encoder runs {', '.join(sorted(FAMILIES))}; {spec.name} is a {config.model_type}."
        )
    head, labels = spec.options.get("head", "single"), int(config.num_labels)
    if (head, labels) not in (("single", 1), ("last", 2)):
        raise RerankerUnavailable(
            f"The checkpoint of {spec.name} has {labels} labels, which the head {head!r} cannot read; "
            f"use `head: single` for one logit and `head: last` for two labels."
        )
    scorer, batch_tokens = _scorer(folder, files, options)
    positions = int(getattr(config, "max_position_embeddings", spec.max_length))
    # RoBERTa's positions begin after the padding index, so two of them hold no token.
    positions -= config.pad_token_id + 1 if config.model_type in ("xlm-roberta", "roberta") else 0
    return PairReranker(
        spec,
        PairEncoder(
            folder / "tokenizer.json", min(spec.max_length, positions), options.max_document_tokens, "longest_first"
        ),
        scorer,
        batch_tokens,
        render=lambda document: document.text,
        logit=(lambda logits: logits[:, 0]) if head == "single" else (lambda logits: np.diff(logits, axis=1)[:, 0]),
    )
