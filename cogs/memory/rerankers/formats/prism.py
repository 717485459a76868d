"""Prism: *yes* or *no*, and for a *yes* what the document contributes and its evidence, rewritten to stand alone.

https://arxiv.org/abs/2604.23734, https://huggingface.co/infgrad/Prism-Qwen3.5-Reranker-0.8B
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from cogs.memory.inference.model_folders import require_folder, require_safetensors
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec
from cogs.memory.rerankers.base import Document, Scale, Score
from cogs.memory.rerankers.causal import CausalReranker, Scorer, load_model, load_tokenizer, make_scorer, torch_dtype
from cogs.memory.rerankers.formats.prism_parse import parse_explanation
from cogs.memory.rerankers.packed.budget import Budget
from cogs.memory.rerankers.packed.prompt_tokens import PromptWriter
from cogs.memory.rerankers.prompts import PRISM, PRISM_INSTRUCTION

MAX_NEW_TOKENS: Final = 512
ENDINGS: Final = ("<|im_end|>", "<|endoftext|>")


class PrismReranker(CausalReranker):
    """``raw`` is the log-odds of *yes* against *no* at the first generated position.

    Args:
        spec: the entry of the reranker.
        writer: writes the prompts in tokens.
        scorer: reads *yes* and *no*.
        model: the decoder, which writes evidence.
        tokenizer: the model's.
        batch_tokens: padded tokens of a batch at most.
    """

    scale: ClassVar[Scale] = "log_odds"

    def __init__(
        self, spec: RerankerSpec, writer: PromptWriter, scorer: Scorer, model: Any, tokenizer: Any, batch_tokens: int
    ) -> None:
        super().__init__(spec, writer, scorer)
        self._model = model
        self._tokenizer = tokenizer
        self._budget = Budget(batch_tokens, padded=True)
        self._max_new_tokens = min(MAX_NEW_TOKENS, int(spec.options.get("max_new_tokens", MAX_NEW_TOKENS)))
        known = tokenizer.get_vocab()
        self._endings = [known[ending] for ending in ENDINGS if ending in known]

    def explain(self, query: str, documents: Sequence[Document], scores: Sequence[Score]) -> list[Score]:
        """Generate contribution and evidence of the documents that the model affirms; the others stay as they are.

        Greedy, at most 512 new tokens each. A generation that cannot be read leaves both ``None``.
        """
        explained = list(scores)
        # After a "no" the model writes nothing, so nothing is generated.
        affirmed = [place for place, score in enumerate(scores) if score.probability >= 0.5]
        if not affirmed:
            return explained
        prompt = self._writer.write(query, [documents[place].text for place in affirmed])
        rows = [[*prompt.constant, *prompt.query, *tail] for tail in prompt.tails]
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        lengths = [len(rows[place]) + self._max_new_tokens for place in order]
        texts = self._budget.spend(lengths, lambda run: self._generate([rows[order[place]] for place in run]))
        for place, text in zip(order, texts, strict=True):
            found = parse_explanation(text)
            at = affirmed[place]
            explained[at] = replace(scores[at], contribution=found.contribution, evidence=found.evidence)
        return explained

    @torch.inference_mode()
    def _generate(self, rows: Sequence[Sequence[int]]) -> list[str]:
        longest = max(map(len, rows))
        pad = self._endings[-1] if self._endings else 0
        ids = torch.tensor([[*[pad] * (longest - len(row)), *row] for row in rows], device=self._model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self._model.device)
        config = GenerationConfig(
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            max_new_tokens=self._max_new_tokens,
            eos_token_id=self._endings or None,
            pad_token_id=pad,
        )
        generated = self._model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        return [str(self._tokenizer.decode(row, skip_special_tokens=True)) for row in generated[:, longest:]]

    def close(self) -> None:
        """Free the model."""
        super().close()
        del self._model


def load(spec: RerankerSpec, options: LoadOptions) -> PrismReranker:
    """Load the model: packed where it is a Qwen3, with its state shared where it is a Qwen3.5 hybrid.

    Raises:
        RerankerUnavailable: its files are missing, or its tokenizer does not know *yes* and *no* as single tokens.
    """
    folder = require_folder(spec, options)
    require_safetensors(folder)
    tokenizer, prompts = load_tokenizer(folder, spec)
    yes, no = prompts.single("yes"), prompts.single("no")
    instruction = spec.instruction or PRISM_INSTRUCTION
    writer = PromptWriter(prompts, PRISM, instruction, spec.max_length, options.max_document_tokens)
    model: Any = load_model(AutoModelForCausalLM, folder, spec, torch_dtype(options)).to(options.device)
    readout = model.lm_head.weight[torch.tensor([yes, no], device=model.device)].clone()
    scorer = make_scorer(spec, model.model, readout, options, give_away=False)  # the model writes evidence itself
    return PrismReranker(spec, writer, scorer, model, tokenizer, options.batch_tokens)
