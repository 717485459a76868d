"""The code that cards print, as they print it: the baseline of the benchmarks, never what recall uses.

It pads every batch to its longest document, repeats instruction and query, keeps an adapter apart and computes the
whole vocabulary's logits at every position. Untrusted text may hold special tokens here, as it may on the cards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from cogs.memory.inference.model_folders import require_folder
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score, sigmoid
from cogs.memory.rerankers.causal import torch_dtype
from cogs.memory.rerankers.prompts import (
    LYCHEEMEM_INSTRUCTION,
    PRISM,
    PRISM_INSTRUCTION,
    QWEN3,
    QWEN3_INSTRUCTION,
    Template,
)


class PublishedYesNo(Reranker):
    """The code of the Qwen3-Reranker cards; Prism's differs in its prompt alone.

    Args:
        spec: the entry of the reranker.
        options: device and dtype.
        template: the card's prompt.
        instruction: what fills its instruction.
        batch_size: documents of a batch; ``None`` for all in one, as the cards have it.
    """

    scale: ClassVar[Scale] = "log_odds"

    def __init__(
        self, spec: RerankerSpec, options: LoadOptions, template: Template, instruction: str, batch_size: int | None
    ) -> None:
        super().__init__(spec)
        folder = require_folder(spec, options)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left", local_files_only=True)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch_dtype(options), local_files_only=True, use_safetensors=True
        )
        self._model = self._model.to(options.device).eval()
        self._template, self._instruction = template, instruction
        self._batch_size = batch_size
        self._no, self._yes = self._tokenizer.convert_tokens_to_ids(["no", "yes"])
        self._prefix = self._tokenizer.encode(template.prefix, add_special_tokens=False)
        self._suffix = self._tokenizer.encode(template.suffix, add_special_tokens=False)

    def _inputs(self, pairs: Sequence[str]) -> Any:
        room = self.spec.max_length - len(self._prefix) - len(self._suffix)
        inputs = self._tokenizer(
            list(pairs), padding=False, truncation="longest_first", return_attention_mask=False, max_length=room
        )
        for number, ids in enumerate(inputs["input_ids"]):
            inputs["input_ids"][number] = self._prefix + ids + self._suffix
        return self._tokenizer.pad(inputs, padding=True, return_tensors="pt").to(self._model.device)

    @torch.no_grad()
    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score the documents in padded batches of ``batch_size``, or all at once as the card does."""
        pairs = [
            f"<Instruct>: {self._instruction}\n<Query>: {query}\n<Document>: {document.text}" for document in documents
        ]
        size = self._batch_size or max(1, len(pairs))
        scores: list[Score] = []
        for start in range(0, len(pairs), size):
            logits: Tensor = self._model(**self._inputs(pairs[start : start + size])).logits[:, -1, :]
            two = torch.stack([logits[:, self._no], logits[:, self._yes]], dim=1)
            probabilities = torch.nn.functional.log_softmax(two, dim=1)[:, 1].exp().tolist()
            raws = (two[:, 1] - two[:, 0]).float().tolist()
            scores += [Score(p, raw) for p, raw in zip(probabilities, raws, strict=True)]
        return scores


class PublishedLycheeMem(Reranker):
    """The code of the LycheeMem card: the adapter unmerged, batches padded."""

    scale: ClassVar[Scale] = "logit"

    def __init__(self, spec: RerankerSpec, options: LoadOptions, batch_size: int | None, padding: bool | str) -> None:
        super().__init__(spec)
        adapter, base = require_folder(spec, options), require_folder(spec, options, which="base")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(base, local_files_only=True)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=1, dtype=torch_dtype(options), local_files_only=True, use_safetensors=True
        )
        model.config.pad_token_id = self._tokenizer.pad_token_id
        self._model: Any = PeftModel.from_pretrained(model, str(adapter)).to(options.device).eval()
        self._batch_size, self._padding = batch_size, padding
        self._instruction = spec.instruction or LYCHEEMEM_INSTRUCTION

    @torch.no_grad()
    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score the documents in padded batches of ``batch_size``, or all at once."""
        texts = [
            f"<Instruct>: {self._instruction}\n<Query>: {query}\n<Document>: {document.text}" for document in documents
        ]
        size = self._batch_size or max(1, len(texts))
        scores: list[Score] = []
        for start in range(0, len(texts), size):
            inputs = self._tokenizer(
                texts[start : start + size],
                padding=self._padding,
                truncation=True,
                max_length=self.spec.max_length,
                return_tensors="pt",
            ).to(self._model.device)
            raws = self._model(**inputs).logits[:, 0].float().tolist()
            scores += [Score(sigmoid(raw), raw) for raw in raws]
        return scores


def load_published(
    spec: RerankerSpec, options: LoadOptions, *, batch_size: int | None = None, padding: bool | str = True
) -> Reranker:
    """Load a reranker as its card's code would.

    Args:
        batch_size: documents of one forward pass; all of them by default, as the cards' examples do.
        padding: LycheeMem's, ``True`` for the longest of the batch or ``"max_length"`` for all 512 tokens.

    Raises:
        RerankerUnavailable: the files are missing, or no card of this format prints code.
    """
    if spec.format == "qwen3":
        return PublishedYesNo(spec, options, QWEN3, spec.instruction or QWEN3_INSTRUCTION, batch_size)
    if spec.format == "prism":
        return PublishedYesNo(spec, options, PRISM, spec.instruction or PRISM_INSTRUCTION, batch_size)
    if spec.format == "lycheemem":
        return PublishedLycheeMem(spec, options, batch_size, padding)
    raise RerankerUnavailable(f"No card prints code for the format {spec.format}; there is nothing to compare with.")
