"""Qwen3-Reranker (0.6B, 4B, 8B): is the next word *yes* or *no*?

https://huggingface.co/Qwen/Qwen3-Reranker-0.6B
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from transformers import AutoModelForCausalLM

from cogs.memory.inference.model_folders import require_folder, require_safetensors
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec
from cogs.memory.rerankers.base import Scale
from cogs.memory.rerankers.causal import CausalReranker, load_model, load_tokenizer, make_scorer, torch_dtype
from cogs.memory.rerankers.packed.prompt_tokens import PromptWriter
from cogs.memory.rerankers.prompts import QWEN3, QWEN3_INSTRUCTION


class Qwen3Reranker(CausalReranker):
    """``raw`` is the log-odds of *yes* against *no*, so the probability is the card's score."""

    scale: ClassVar[Scale] = "log_odds"


def load(spec: RerankerSpec, options: LoadOptions) -> Qwen3Reranker:
    """Load the model.

    Raises:
        RerankerUnavailable: its files are missing, or its tokenizer does not know *yes* and *no* as single tokens.
    """
    folder = require_folder(spec, options)
    require_safetensors(folder)
    _, prompts = load_tokenizer(folder, spec)
    yes, no = prompts.single("yes"), prompts.single("no")
    instruction = spec.instruction or QWEN3_INSTRUCTION
    writer = PromptWriter(prompts, QWEN3, instruction, spec.max_length, options.max_document_tokens)
    model: Any = load_model(AutoModelForCausalLM, folder, spec, torch_dtype(options)).to(options.device)
    readout = model.lm_head.weight[torch.tensor([yes, no], device=model.device)].clone()
    return Qwen3Reranker(spec, writer, make_scorer(spec, model.model, readout, options))
