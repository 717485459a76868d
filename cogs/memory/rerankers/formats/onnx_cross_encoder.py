"""A cross-encoder that comes as an ONNX graph: the shipped default, and the machinery other ONNX formats share.

The folder of format ``onnx-cross-encoder`` holds ``model.onnx``, ``tokenizer.json`` and ``mneme.json``::

    {"rendering": "chat", "max_length": 256, "temperature": 1.0, "bias": 0.0, "score": "logit"}

``model_sha256`` may be given too, and is then checked. The probability is sigmoid((logit + prior_weight · log-odds of
the prior + bias) / temperature), the prior being the first stage's probability; ``prior_weight`` is 0 where it is not
given. ``"choice": {"scale": 1.0, "nothing": -2.0}`` makes probabilities of a question's candidates together, see
:class:`Choice`; the prior then weighs more where they have more than ``usual_words`` words, see :func:`growth`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogs.memory.inference.model_folders import read_json, require_folder
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.onnx_graphs import sha256_of
from cogs.memory.rerankers.chat_text import RENDERING, passages, render_chat
from cogs.memory.rerankers.pairs import OnnxPairScorer, PairEncoder, PairReranker
from cogs.memory.rerankers.probabilities import Choice


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What ``mneme.json`` states of a model beside its graph; see the module."""

    max_length: int
    temperature: float = 1.0
    bias: float = 0.0
    prior_weight: float = 0.0
    usual_words: float | None = None
    choice: Choice | None = None


def calibrated(about: Mapping[str, Any], spec: RerankerSpec, folder: Path) -> Calibrated:
    """Read a model's ``mneme.json``.

    Raises:
        RerankerUnavailable: the model is for another rendering, or a number cannot be meant.
    """
    if about.get("rendering") != RENDERING or about.get("score", "logit") != "logit":
        raise RerankerUnavailable(
            f"The reranker {spec.name} in {folder} was trained for the rendering {about.get('rendering')!r} and the "
            f"score {about.get('score')!r}; this program writes {RENDERING!r} and reads 'logit'."
        )
    temperature, bias = float(about.get("temperature", 1.0)), float(about.get("bias", 0.0))
    if not temperature > 0:
        raise RerankerUnavailable(f"The reranker {spec.name} states a temperature of {temperature}, which is not > 0.")
    usual = about.get("usual_words")
    if usual is not None and not float(usual) > 0:
        raise RerankerUnavailable(f"The reranker {spec.name} states {usual!r} usual words, which is not > 0.")
    return Calibrated(
        min(int(about.get("max_length", spec.max_length)), spec.max_length),
        temperature,
        bias,
        float(about.get("prior_weight", 0.0)),
        None if usual is None else float(usual),
        Choice.of(about.get("choice"), spec.name),
    )


def load(spec: RerankerSpec, options: LoadOptions) -> PairReranker:
    """Load a shipped folder.

    Raises:
        RerankerUnavailable: the folder or one of its files is missing, damaged, or for another rendering.
    """
    folder = require_folder(spec, options)
    about = read_json(folder / "mneme.json")
    graph = folder / "model.onnx"
    if not graph.is_file():
        raise RerankerUnavailable(f"The reranker {spec.name} has no model.onnx in {folder}; fetch or train it again.")
    settings = calibrated(about, spec, folder)
    expected = about.get("model_sha256")
    if expected is not None and sha256_of(graph) != expected:
        raise RerankerUnavailable(
            f"The graph of {spec.name} in {folder} is damaged: its SHA-256 is not the stated one."
        )
    scorer = OnnxPairScorer(graph, options.threads)
    return PairReranker(
        spec,
        PairEncoder(folder / "tokenizer.json", settings.max_length, options.max_document_tokens, "document"),
        scorer,
        min(options.batch_tokens, scorer.batch_tokens),
        render=render_chat,
        split=passages,
        temperature=settings.temperature,
        bias=settings.bias,
        prior_weight=settings.prior_weight,
        usual_words=settings.usual_words,
        choice=settings.choice,
    )
