"""A trained joint model as the folder that the format ``joint`` loads: two INT8 graphs and ``mneme.json``."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from cogs.lab.training.export_onnx import OPSET, quantise
from cogs.lab.training.joint.model import WIDTH, Lower, Upper
from cogs.memory.rerankers.chat_text import RENDERING


class _Pair(torch.nn.Module):
    """The upper part as a function of hidden states and token types to logits of shape (pairs, 1)."""

    def __init__(self, upper: Upper) -> None:
        super().__init__()
        self.upper = upper

    def forward(self, hidden_states: torch.Tensor, token_type_ids: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        found: torch.Tensor = self.upper(hidden_states, token_type_ids == 1)
        return found.unsqueeze(1)


def export_graphs(lower: Lower, upper: Upper, target: Path, width: int = WIDTH) -> None:
    """Write ``lower.onnx`` and ``upper.onnx`` to ``target``, INT8, length free."""
    target.mkdir(parents=True, exist_ok=True)
    types = torch.tensor([[0] * 5 + [1] * 7])
    whole = torch.randn(1, 12, width)
    _export(lower.eval(), (whole, torch.arange(12)[None]), ("inputs_embeds", "position_ids"), target / "lower.onnx")
    _export(_Pair(upper.eval()), (whole, types), ("hidden_states", "token_type_ids"), target / "upper.onnx")


def write_about(target: Path, *, max_length: int, words: Path, **more: Any) -> None:
    """Write ``mneme.json``: the rendering, the limit, the checksums of graphs and words, and what ``more`` states."""
    about = {
        "rendering": RENDERING,
        "max_length": max_length,
        "score": "logit",
        **more,
        "lower_sha256": _sha256(target / "lower.onnx"),
        "upper_sha256": _sha256(target / "upper.onnx"),
        "words_sha256": _sha256(words),
    }
    (target / "mneme.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _export(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...], names: Sequence[str], target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "float.onnx"
        torch.onnx.export(
            model,
            inputs,
            str(plain),
            input_names=list(names),
            output_names=["found"],
            dynamic_axes={name: {0: "texts", 1: "tokens"} for name in names} | {"found": {0: "texts"}},
            opset_version=OPSET,
            dynamo=False,
        )
        quantise(plain, target)


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
