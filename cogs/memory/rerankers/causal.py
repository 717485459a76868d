"""What the decoder-only rerankers share: prompts in tokens, token budgets, and the packed pass over a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from cogs.memory.inference import allocator
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document, Reranker, Score, to_probability
from cogs.memory.rerankers.packed.budget import Budget
from cogs.memory.rerankers.packed.choice import fastest
from cogs.memory.rerankers.packed.decoder import PackedDecoder, can_pack
from cogs.memory.rerankers.packed.hybrid import SharedStateScorer
from cogs.memory.rerankers.packed.int8 import quantize
from cogs.memory.rerankers.packed.kernels import STRATEGIES, Strategy
from cogs.memory.rerankers.packed.prefix_cache import PrefixCache
from cogs.memory.rerankers.packed.prompt_tokens import PromptTokenizer, PromptTokens, PromptWriter
from cogs.memory.rerankers.packed.shapes import GraphRecorder, ShapedScorer


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

        # Documents of one length attend in one call, and a pass of like lengths pads little where it pads.
        order = sorted(range(len(prompt.tails)), key=lambda place: len(prompt.tails[place]))

        def run(places: range) -> list[Tensor]:
            known, past = self._cache.longest(beginning, boundaries)
            tails = [prompt.tails[order[place]] for place in places]
            hidden, state = self._decoder.forward(past, beginning[known:], tails)
            if known < len(beginning):
                self._cache.put(beginning, state)
            return list(torch.nn.functional.linear(hidden, self._readout).float().cpu())

        rows = self._budget.spend([len(prompt.tails[place]) for place in order], run)
        numbers = torch.empty(len(rows), len(self._readout))
        numbers[order] = torch.stack(rows)
        return numbers

    def close(self) -> None:
        """Free the kept states."""
        self._cache.clear()


class Scorer(Protocol):
    """Reads numbers off the last token of each prompt."""

    def read(self, prompt: PromptTokens) -> Tensor:
        """Return a float32 tensor of shape (documents, numbers) on the CPU."""

    def close(self) -> None:
        """Free what is kept between calls."""


class CausalReranker(Reranker):
    """A reranker that reads one or two numbers at the end of each prompt: ``yes`` − ``no``, or a single logit.

    ``scorer`` returns shape (documents, 1) or, in this order, (documents, [yes, no]).
    """

    def __init__(self, spec: RerankerSpec, writer: PromptWriter, scorer: Scorer) -> None:
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
        allocator.release_freed_memory()


def make_scorer(
    spec: RerankerSpec, backbone: nn.Module, readout: Tensor, options: LoadOptions, *, give_away: bool = True
) -> Scorer:
    """Return the fastest exact way to read ``readout`` off a decoder: packed, or with its state shared.

    With INT8 the decoder's dense layers are quantized in place. With ``give_away`` the scorer may take the weights of
    the decoder, which cannot be called itself any more.

    Args:
        spec: the entry of the reranker.
        backbone: the decoder, on its device.
        readout: rows of the output head, shape (numbers, hidden size).
        options: dtype and batch tokens.
        give_away: whether the scorer may take the decoder's weights, so that the decoder cannot be called itself any
            more.

    Raises:
        RerankerUnavailable: the spec's ``options: {attention: ...}`` is unknown.
    """
    if options.dtype == "int8":
        quantize(backbone)
    if next(backbone.parameters()).device.type == "cpu":
        allocator.keep_freed_memory()
    if can_pack(backbone):
        attention = spec.options.get("attention")
        if attention not in (None, *STRATEGIES):
            raise RerankerUnavailable(
                f"The reranker {spec.name} names the unknown attention {attention!r}; choose {' or '.join(STRATEGIES)}."
            )
        decoder = PackedDecoder(backbone, attention, give_away=give_away)
        scorer = SCORERS.get(decoder.device.type, _as_they_come)
        return scorer(decoder, attention, readout, options.batch_tokens)
    return SharedStateScorer(backbone, readout, options.batch_tokens)


def _as_they_come(decoder: PackedDecoder, _: Strategy | None, readout: Tensor, batch_tokens: int) -> Scorer:
    """Passes as they come, the decoder attending as it was made."""
    return PackedScorer(decoder, readout, batch_tokens)


def _recorded(decoder: PackedDecoder, attention: Strategy | None, readout: Tensor, batch_tokens: int) -> Scorer:
    """Passes recorded as graphs, with what attends fastest on the GPU at hand."""
    record = GraphRecorder()
    chosen = attention or fastest(decoder, record)
    if chosen in (None, "per_document"):
        return PackedScorer(decoder, readout, batch_tokens)
    decoder.attention = STRATEGIES[chosen]
    return ShapedScorer(decoder, readout, batch_tokens, record)


SCORERS: Final[Mapping[str, Callable[[PackedDecoder, Strategy | None, Tensor, int], Scorer]]] = {"cuda": _recorded}
"""How passes run by kind of device; as they come elsewhere."""


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


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers' progress bars and load reports out of the log; what is missing is an error here anyway."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


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

    Args:
        loader: the transformers class.
        folder: the model's folder.
        spec: the entry of the reranker.
        dtype: of the weights.
        absent: weights that the caller fills in himself; transformers makes up any other that is missing.

    Raises:
        RerankerUnavailable: files or weights are missing, or do not fit the class.
    """
    try:
        model: nn.Module
        with quietly():
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
