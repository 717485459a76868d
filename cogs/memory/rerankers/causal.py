"""What the decoder-only rerankers share: prompts in tokens, token budgets, and the packed pass over a loaded model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from cogs.memory.rerankers.base import (
    Document,
    LoadOptions,
    Reranker,
    RerankerSpec,
    RerankerUnavailable,
    Score,
    to_probability,
)
from cogs.memory.rerankers.packed import PackedDecoder
from cogs.memory.rerankers.packed_text import PromptTokenizer
from cogs.memory.rerankers.prefix_cache import PrefixCache
from cogs.memory.rerankers.prompts import Template

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """A query's prompts: ``constant`` + ``query`` begin every one, and each of ``tails`` ends one."""

    constant: list[int]
    query: list[int]
    tails: list[list[int]]


class PromptWriter:
    """Writes the prompts of a template in tokens, within the model's limit.

    Args:
        template: where the prompt's parts lie.
        max_length: the limit of a whole prompt, in tokens.
        max_document_tokens: the profile's limit of a document, in tokens.
        unread: the padding token, where the model reads its score at the last token that is none.

    Raises:
        RerankerUnavailable: the limit leaves no room for a document.
    """

    def __init__(
        self,
        tokenizer: PromptTokenizer,
        template: Template,
        instruction: str,
        max_length: int,
        max_document_tokens: int,
        unread: int | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        (constant,) = tokenizer.fill(template.constant, "{instruction}", [instruction])
        prefix = [*tokenizer.trusted(template.prefix), *tokenizer.opening]
        self._constant = prefix + constant
        self._ending = [*tokenizer.closing, *tokenizer.trusted(template.suffix)]
        _, after = template.document.split("{document}")
        self._after = tokenizer.fill(after, "{document}", [""])[0] if after else []
        self._room = max_length - len(self._constant) - len(self._ending)
        self._max_document_tokens = max_document_tokens
        if self._room <= 0:
            raise RerankerUnavailable(f"A limit of {max_length} tokens leaves no room for a document.")
        while self._ending and self._ending[-1] == unread:
            self._ending.pop()

    def write(self, query: str, documents: Sequence[str]) -> PromptTokens:
        """Return the tokens of each document's prompt.

        The tail of a document is cut where the prompt would be too long; the query only where it alone is.
        """
        (asked,) = self._tokenizer.fill(self._template.query, "{query}", [query])
        asked = asked[: self._room]
        room = min(self._room - len(asked), self._max_document_tokens)
        tails = [
            self._cut(ids, room) + self._ending
            for ids in self._tokenizer.fill(self._template.document, "{document}", documents)
        ]
        if not all(tails) and asked:
            # The query fills the prompt: its last token is where each score is read.
            tails = [[asked[-1], *tail] for tail in tails]
            asked = asked[:-1]
        return PromptTokens(self._constant, asked, tails)

    def _cut(self, ids: list[int], room: int) -> list[int]:
        if len(ids) <= room:
            return ids
        if len(self._after) <= room:
            return ids[: room - len(self._after)] + self._after
        return ids[:room]


def token_budgets(lengths: Sequence[int], budget: int) -> Iterator[range]:
    """Cut documents, in their order, into runs of at most ``budget`` tokens; a longer one goes alone."""
    start, held = 0, 0
    for place, length in enumerate(lengths):
        if place > start and held + length > budget:
            yield range(start, place)
            start, held = place, 0
        held += length
    if start < len(lengths):
        yield range(start, len(lengths))


class Budget:
    """The tokens of one forward pass; halved for good when the device runs out of memory."""

    def __init__(self, tokens: int) -> None:
        self.tokens = max(1, tokens)

    def spend(self, lengths: Sequence[int], run: Callable[[range], list[Tensor]]) -> list[Tensor]:
        """Call ``run`` on runs of documents that fit, halving what fits when memory ends; join what it returns.

        Raises:
            torch.OutOfMemoryError: a single document does not fit.
        """
        results: list[Tensor] = []
        while len(results) < len(lengths):
            done = len(results)
            places = next(token_budgets(lengths[done:], self.tokens))
            try:
                results += run(range(done + places.start, done + places.stop))
            except torch.OutOfMemoryError:
                if len(places) == 1:
                    raise
                held = sum(lengths[done : done + len(places)])
                self.tokens = max(1, min(self.tokens, held) // 2)
                log.warning("out of memory; passes now hold %d tokens", self.tokens)
            else:
                continue
            # Outside the handler, where the error no longer holds the failed pass's tensors.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return results


class PackedScorer:
    """Reads numbers off the last token of each prompt, by the packed pass.

    Args:
        backbone: a decoder that :func:`packed.can_pack` accepts.
        readout: the rows of the output head to read, of shape (numbers, hidden size).
    """

    def __init__(self, decoder: PackedDecoder, readout: Tensor, batch_tokens: int) -> None:
        self._decoder = decoder
        self._readout = readout
        self._budget = Budget(batch_tokens)
        self._cache = PrefixCache()

    def read(self, prompt: PromptTokens) -> Tensor:
        """Return a float32 tensor of shape (documents, numbers) on the CPU."""
        beginning = [*prompt.constant, *prompt.query]
        boundaries = (len(prompt.constant), len(beginning))
        if not prompt.tails:
            return torch.empty(0, len(self._readout))
        if prompt.constant and self._cache.longest(beginning, boundaries)[1] is None:
            _, state = self._decoder.forward(None, prompt.constant, [])
            self._cache.put(prompt.constant, state)

        def run(places: range) -> list[Tensor]:
            known, past = self._cache.longest(beginning, boundaries)
            tails = [prompt.tails[place] for place in places]
            hidden, state = self._decoder.forward(past, beginning[known:], tails)
            if known < len(beginning):
                self._cache.put(beginning, state)
            return list(torch.nn.functional.linear(hidden, self._readout).float().cpu())

        return torch.stack(self._budget.spend([len(tail) for tail in prompt.tails], run))

    def close(self) -> None:
        """Free the kept states."""
        self._cache.clear()


class CausalReranker(Reranker):
    """A reranker that reads one or two numbers at the end of each prompt: ``yes`` − ``no``, or a single logit.

    ``scorer`` returns shape (documents, 1) or, in this order, (documents, [yes, no]).
    """

    def __init__(self, spec: RerankerSpec, writer: PromptWriter, scorer: PackedScorer) -> None:
        super().__init__(spec)
        self._writer = writer
        self._scorer = scorer

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score the documents' bare text; how a message is worded beforehand is the service's business."""
        if not documents:
            return []
        numbers = self._scorer.read(self._writer.write(query, [document.text for document in documents]))
        raws = (numbers[:, 0] - numbers[:, 1] if numbers.shape[1] == 2 else numbers[:, 0]).tolist()
        return [Score(to_probability(raw, self.scale), raw) for raw in raws]

    def close(self) -> None:
        """Free the model."""
        self._scorer.close()
        del self._scorer


def torch_dtype(options: LoadOptions) -> torch.dtype:
    """Return the precision of weights and activations; INT8 quantizes the dense layers of a bfloat16 model."""
    return torch.float32 if options.dtype == "float32" else torch.bfloat16


def load_tokenizer(folder: Path, spec: RerankerSpec) -> tuple[Any, PromptTokenizer]:
    """Load a model's tokenizer, for transformers and for prompts.

    Raises:
        RerankerUnavailable: it is missing or of no use.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise RerankerUnavailable(f"The tokenizer of {spec.name} cannot be read from {folder}: {error}") from error
    return tokenizer, PromptTokenizer(tokenizer, spec.name)


def load_model(
    loader: Any,
    folder: Path,
    spec: RerankerSpec,
    dtype: torch.dtype,
    *,
    absent: frozenset[str] = frozenset(),
    **kwargs: Any,
) -> nn.Module:
    """Load a transformers model from its folder, in ``dtype``, ready to run.

    ``absent`` names the weights that the caller fills in himself. transformers makes up any other that is missing.

    Raises:
        RerankerUnavailable: files or weights are missing, or do not fit the class.
    """
    try:
        model: nn.Module
        model, found = loader.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            output_loading_info=True,
            **kwargs,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise RerankerUnavailable(f"The model of {spec.name} cannot be loaded from {folder}: {error}") from error
    if missing := sorted(set(found["missing_keys"]) - absent):
        raise RerankerUnavailable(
            f"The checkpoint of {spec.name} in {folder} lacks {missing[0]} ({len(missing)} weights in all); it is not "
            "complete or not of the format that rerankers.yaml says."
        )
    return model.eval().requires_grad_(False)
