"""A trained cross-encoder as INT8 ONNX in the folder that the format ``onnx-cross-encoder`` loads."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from cogs.memory.rerankers.chat_text import RENDERING

OPSET = 17


class _Logits(torch.nn.Module):
    """The model as a function of three tensors to logits of shape (pairs, 1)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits."""
        found: torch.Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).logits
        return found


def export_float(folder: Path, target: Path) -> None:
    """Write ``target`` (float32 ONNX, batch and length free) from a folder of safetensors."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, attn_implementation="eager"
    ).eval()
    ids = torch.randint(5, 100, (2, 16))
    inputs = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        _Logits(model),
        inputs,
        str(target),
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "pairs", 1: "tokens"} for name in names} | {"logits": {0: "pairs"}},
        opset_version=OPSET,
        dynamo=False,
    )


def quantise(source: Path, target: Path) -> None:
    """Write the INT8 model: weights per channel in 7 bits (no overflow without VNNI), activations as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(str(prepared), str(target), weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


def export_folder(trained: Path, target: Path, *, max_length: int, temperature: float = 1.0, bias: float = 0.0) -> Path:
    """Write ``model.onnx``, ``tokenizer.json``, ``config.json`` and ``mneme.json`` to ``target``; return it.

    Args:
        trained: the folder of a trained cross-encoder.
        target: the folder to write, made where it is missing.
        max_length: tokens of a pair at most.
        temperature: what the logits are divided by.
        bias: what is added to them then.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "float.onnx"
        export_float(trained, plain)
        quantise(plain, target / "model.onnx")
    for name in ("tokenizer.json", "config.json"):
        shutil.copyfile(trained / name, target / name)
    write_settings(target, max_length=max_length, temperature=temperature, bias=bias)
    return target


def write_settings(target: Path, *, max_length: int, temperature: float, bias: float, **more: Any) -> None:
    """Write ``mneme.json``: the rendering, the limit, the calibration and the graph's checksum."""
    digest = hashlib.sha256((target / "model.onnx").read_bytes()).hexdigest()
    about = {
        "rendering": RENDERING,
        "max_length": max_length,
        "score": "logit",
        "temperature": round(temperature, 4),
        "bias": round(bias, 4),
        **more,
        "model_sha256": digest,
    }
    (target / "mneme.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
