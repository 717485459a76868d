"""lychee-rerank: an instruct model of 1.5B, judged by *yes* against *no*.

https://huggingface.co/vec-ai/lychee-rerank. Its released template could not be read anywhere, so the form printed in
the paper is used and marked; ``options: {template: ...}`` of the spec replaces it, with ``{instruction}``,
``{query}`` and ``{document}``.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import torch
from transformers import AutoModelForCausalLM

from cogs.memory.inference.model_folders import require_folder, require_safetensors
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Scale
from cogs.memory.rerankers.causal import CausalReranker, Scorer, load_model, load_tokenizer, make_scorer, torch_dtype
from cogs.memory.rerankers.packed.prompt_tokens import PromptWriter
from cogs.memory.rerankers.prompts import LYCHEE_PAPER_FORM, QWEN3_INSTRUCTION, parse_template

log = logging.getLogger(__name__)


class LycheeReranker(CausalReranker):
    """``raw`` is the log-odds of *yes* against *no*; ``paper_form`` tells whether the prompt is the paper's."""

    scale: ClassVar[Scale] = "log_odds"

    def __init__(self, spec: RerankerSpec, writer: PromptWriter, scorer: Scorer, *, paper_form: bool) -> None:
        super().__init__(spec, writer, scorer)
        self.paper_form = paper_form


def load(spec: RerankerSpec, options: LoadOptions) -> LycheeReranker:
    """Load the model; ``options: {template, yes_word, no_word}`` of the spec change the prompt and the two words.

    Raises:
        RerankerUnavailable: files are missing, the template is not one, or the words are not single tokens.
    """
    folder = require_folder(spec, options)
    require_safetensors(folder)
    _, prompts = load_tokenizer(folder, spec)
    source = str(spec.options.get("template", LYCHEE_PAPER_FORM))
    try:
        template = parse_template(source, prompts.special_tokens)
    except ValueError as error:
        raise RerankerUnavailable(f"The template of {spec.name} in rerankers.yaml cannot be used: {error}.") from error
    # Not "yes" and "no": YAML reads these keys as booleans.
    words = [prompts.single(str(spec.options.get(f"{word}_word", word))) for word in ("yes", "no")]
    paper_form = source == LYCHEE_PAPER_FORM
    if paper_form:
        log.warning("%s runs with the prompt of its paper; its released one could not be read", spec.name)
    writer = PromptWriter(
        prompts, template, spec.instruction or QWEN3_INSTRUCTION, spec.max_length, options.max_document_tokens
    )
    model: Any = load_model(AutoModelForCausalLM, folder, spec, torch_dtype(options)).to(options.device)
    readout = model.lm_head.weight[torch.tensor(words, device=model.device)].clone()
    return LycheeReranker(spec, writer, make_scorer(spec, model.model, readout, options), paper_form=paper_form)
