"""LycheeMem Reranker v1: a LoRA adapter that makes Qwen3-Reranker-0.6B a regressor of relevance to a memory question.

https://huggingface.co/fuhao23/reranker_v1
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftModel
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from cogs.memory.inference.model_folders import require_folder, require_safetensors
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Scale
from cogs.memory.rerankers.causal import CausalReranker, load_model, load_tokenizer, make_scorer, torch_dtype
from cogs.memory.rerankers.packed.prompt_tokens import PromptWriter
from cogs.memory.rerankers.prompts import LYCHEEMEM, LYCHEEMEM_INSTRUCTION

SCORE_KEYS = (".score.weight", ".score.modules_to_save.default.weight", ".score.modules_to_save.weight")


class LycheeMemReranker(CausalReranker):
    """``raw`` is the single logit of the head that came with the adapter."""

    scale: ClassVar[Scale] = "logit"


def score_weight(folder: Path, spec: RerankerSpec) -> Tensor:
    """Return the adapter's own scoring head, of shape (1, hidden size), in float32.

    transformers gives a language model that is loaded as a classifier a head of random numbers, so without this
    weight the scores would be noise that looks like scores.

    Raises:
        RerankerUnavailable: the adapter carries none.
    """
    for file in require_safetensors(folder):
        with safe_open(file, framework="pt") as weights:
            for key in weights.keys():  # noqa: SIM118 - safe_open is no mapping
                if f".{key}".endswith(SCORE_KEYS):
                    weight: Tensor = weights.get_tensor(key).float()
                    if weight.ndim != 2 or len(weight) != 1:
                        raise RerankerUnavailable(
                            f"The scoring head of {spec.name} has the shape {tuple(weight.shape)} instead of one row."
                        )
                    return weight
    raise RerankerUnavailable(
        f"The adapter of {spec.name} carries no score weight, so its scores would be random; it is not used."
    )


def load_adapted(spec: RerankerSpec, folder: Path, base: Path, dtype: torch.dtype, *, merge: bool) -> nn.Module:
    """Load the base as a classifier with its adapter, on the CPU; merged in float32 and only then cast to ``dtype``.

    Args:
        spec: the entry of the reranker.
        folder: the adapter's.
        base: the folder of the model under it.
        dtype: of the loaded model.
        merge: whether the adapter is merged into the base.

    Raises:
        RerankerUnavailable: the adapter does not fit the base.
    """
    precision = torch.float32 if merge else dtype
    absent = frozenset({"score.weight"})
    model = load_model(AutoModelForSequenceClassification, base, spec, precision, absent=absent, num_labels=1)
    try:
        adapted: Any = PeftModel.from_pretrained(model, str(folder), local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise RerankerUnavailable(f"The adapter of {spec.name} does not fit {spec.base or base}: {error}") from error
    merged: Any = adapted.merge_and_unload() if merge else adapted.get_base_model()
    return merged.to(dtype).eval() if merge else merged.eval()  # type: ignore[no-any-return]


def load(spec: RerankerSpec, options: LoadOptions) -> LycheeMemReranker:
    """Load the base and the adapter.

    ``options: {merge: false}`` of the spec keeps the adapter apart: slower, in the same order.

    Raises:
        RerankerUnavailable: files are missing, the adapter does not fit or carries no ``score`` weight.
    """
    folder, base = require_folder(spec, options), require_folder(spec, options, which="base")
    weight = score_weight(folder, spec)
    require_safetensors(base)
    merge = bool(spec.options.get("merge", True))
    if not merge and options.dtype == "int8":
        raise RerankerUnavailable(f"{spec.name} can be INT8 only with its adapter merged; leave out merge: false.")
    tokenizer_folder = folder if (folder / "tokenizer.json").is_file() else base
    tokenizer, prompts = load_tokenizer(tokenizer_folder, spec)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    instruction = spec.instruction or LYCHEEMEM_INSTRUCTION
    writer = PromptWriter(prompts, LYCHEEMEM, instruction, spec.max_length, options.max_document_tokens, unread=pad)
    model: Any = load_adapted(spec, folder, base, torch_dtype(options), merge=merge).to(options.device)
    hidden_size = model.config.get_text_config().hidden_size
    if weight.shape[1] != hidden_size:
        raise RerankerUnavailable(
            f"The scoring head of {spec.name} is {weight.shape[1]} wide and its base {hidden_size}; they do not belong "
            "together."
        )
    readout = weight.to(model.device, torch_dtype(options))
    return LycheeMemReranker(spec, writer, make_scorer(spec, model.model, readout, options))
