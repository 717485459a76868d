"""Scoring (query, passage) pairs with an encoder, in batches of one length."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_state

from cogs.memory.inference.batches import length_sorted_batches
from cogs.memory.inference.model_specs import RerankerSpec, RerankerUnavailable
from cogs.memory.inference.plain_tokenizer import CHARACTERS_PER_TOKEN, PlainTokenizer
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score, sigmoid
from cogs.memory.rerankers.probabilities import Choice, growth, log_odds

CPU_BATCH_TOKENS: Final = 256
"""Padded tokens of one run on a CPU: what it computes then stays in the cache (256 takes half as long as 512)."""
ONNX_ERRORS: Final[tuple[type[Exception], ...]] = (
    onnx_state.Fail,
    onnx_state.InvalidArgument,
    onnx_state.InvalidGraph,
    onnx_state.InvalidProtobuf,
    onnx_state.NoSuchFile,
    onnx_state.NotImplemented,
    onnx_state.RuntimeException,
)
"""What ONNX Runtime raises; these share no base class but ``Exception``."""
Cut = Literal["longest_first", "document"]
Logits = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Padded pairs: which documents (``rows``), and int64 arrays of shape (len(rows), longest)."""

    rows: Ids
    input_ids: Ids
    attention_mask: Ids
    token_type_ids: Ids


class PairScorer(Protocol):
    """What runs the model: a batch → raw logits, float32 (rows, labels). ``workers`` batches may run at once."""

    workers: int

    def __call__(self, batch: PairBatch) -> Logits:
        """Return the logits of one batch."""


class PairBatches(Protocol):
    """What makes batches of a question and its candidates."""

    def batches(self, query: str, documents: Sequence[str], batch_tokens: int) -> Iterator[PairBatch]:
        """Yield the pairs in batches, the shortest first."""


class PairEncoder:
    """(query, document) pairs → padded batches of token ids, shortest first.

    Text that spells a special token ("[SEP]", "</s>") is tokenized as the characters that it is. ``cut`` says what a
    pair that is too long loses: ``longest_first`` is the tokenizers' own rule, as the cards of these models use it;
    ``document`` takes the tail of the document only (and of the query where it alone fills the limit).
    """

    def __init__(self, tokenizer_file: Path, max_length: int, max_document_tokens: int, cut: Cut) -> None:
        self._tokenizer = PlainTokenizer(tokenizer_file)
        self._template = self._tokenizer.pair_template()
        special = sum(len(part) for part in self._template[:3])
        self._room = max_length - special
        self._characters = max_length * CHARACTERS_PER_TOKEN
        self._max_document_tokens = max_document_tokens
        self._cut: Cut = cut
        self._pad = self._tokenizer.pad_id

    def batches(self, query: str, documents: Sequence[str], batch_tokens: int) -> Iterator[PairBatch]:
        """Yield the pairs in batches of at most ``batch_tokens`` padded tokens (one pair at least)."""
        pairs = self._pairs(query, documents)
        lengths = [len(ids) for ids, _ in pairs]
        for rows in length_sorted_batches(lengths, batch_tokens):
            shape = (len(rows), lengths[int(rows[-1])])
            ids, mask, types = np.full(shape, self._pad, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            for line, row in enumerate(rows):
                length = lengths[int(row)]
                ids[line, :length], types[line, :length] = pairs[int(row)]
                mask[line, :length] = 1
            yield PairBatch(rows, ids, mask, types)

    def _pairs(self, query: str, documents: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """Return the token ids and token types of each pair; the query is tokenized once for all."""
        asked, *said = self._tokenizer.encode([text[: self._characters] for text in (query, *documents)])
        before, between, after, first_type, second_type = self._template
        pairs = []
        for ids in said:
            kept, told = self._lengths(len(asked), min(len(ids), self._max_document_tokens))
            pairs.append(
                (
                    [
                        *(i for i, _ in before),
                        *asked[:kept],
                        *(i for i, _ in between),
                        *ids[:told],
                        *(i for i, _ in after),
                    ],
                    [
                        *(t for _, t in before),
                        *([first_type] * kept),
                        *(t for _, t in between),
                        *([second_type] * told),
                        *(t for _, t in after),
                    ],
                )
            )
        return pairs

    def _lengths(self, query: int, document: int) -> tuple[int, int]:
        if self._cut == "document":
            query = min(query, self._room)
            return query, min(document, self._room - query)
        return longest_first(query, document, self._room)


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens each of a pair keeps: the longer one loses first, then both alike (``tokenizers``)."""
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    if short <= room // 2:
        long = room - short
    else:
        short, long = room // 2, room - room // 2
    return (short, long) if first <= second else (long, short)


class OnnxPairScorer:
    """A sequence-classification graph on the CPU through ONNX Runtime.

    ``batch_tokens`` is how many padded tokens one run should have. A graph that quantizes activations as they come
    scales them by all rows of a run, so a pair's score would depend on its neighbours (by up to 0.5 of a spread of 7.5
    over 50 chat-length texts); such a graph runs pair by pair, each on one of ``workers`` threads, because dividing so
    little work among threads costs more than it saves.
    """

    def __init__(self, graph: Path | bytes, threads: int | None, *, output: str | None = None) -> None:
        data, given = (graph, graph) if isinstance(graph, bytes) else (graph.read_bytes(), str(graph))
        by_pair = b"DynamicQuantizeLinear" in data
        self.workers = (threads or os.cpu_count() or 1) if by_pair else 1
        self.batch_tokens = 1 if by_pair else CPU_BATCH_TOKENS
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1 if by_pair else threads or 0
        options.log_severity_level = 3
        # Idle threads that spin take the cores from the event loop and the embedder.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise RerankerUnavailable(f"The ONNX graph cannot be loaded: {error}.") from error
        self._inputs = {value.name for value in self._session.get_inputs()}
        self._outputs = None if output is None else [output]
        if unknown := self._inputs - {"input_ids", "attention_mask", "token_type_ids"}:
            raise RerankerUnavailable(f"The ONNX graph wants inputs that no pair has: {', '.join(sorted(unknown))}.")

    def __call__(self, batch: PairBatch) -> Logits:
        """Return the first output, float32 (rows, labels)."""
        given = {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "token_type_ids": batch.token_type_ids,
        }
        try:
            logits = self._session.run(self._outputs, {name: given[name] for name in self._inputs})[0]
        except ONNX_ERRORS as error:
            raise RuntimeError(f"ONNX Runtime failed: {error}") from error
        return np.asarray(logits, dtype=np.float32).reshape(len(batch.rows), -1)


class PairReranker(Reranker):
    """Scores rendered documents as pairs with the query; ``raw`` is the model's logit.

    ``split`` makes several documents of one, of which the best counts; published formats have none.

    Args:
        spec: the entry of the reranker.
        encoder: makes batches of token ids of pairs.
        scorer: computes the logits of a batch.
        batch_tokens: tokens of a batch at most.
        render: the text of a document.
        split: makes several documents of one, of which the best counts; published formats have none.
        logit: takes one number for each pair out of the model's logits.
        temperature: what a logit is divided by.
        bias: what is added to it then.
        prior_weight: the share of the first stage's log-odds.
        usual_words: where candidates have more words than this in the mean, the prior weighs more; ``None``: never.
        choice: turns the scores of candidates into their shares; ``None`` where each is judged alone.
    """

    scale: ClassVar[Scale] = "logit"

    def __init__(
        self,
        spec: RerankerSpec,
        encoder: PairBatches,
        scorer: PairScorer,
        batch_tokens: int,
        *,
        render: Callable[[Document], str],
        split: Callable[[str, Document], list[Document]] = lambda query, document: [document],
        logit: Callable[[Logits], Logits] = lambda logits: logits[:, 0],
        temperature: float = 1.0,
        bias: float = 0.0,
        prior_weight: float = 0.0,
        usual_words: float | None = None,
        choice: Choice | None = None,
    ) -> None:
        super().__init__(spec)
        self._encoder = encoder
        self._scorer: PairScorer | None = scorer
        self._batch_tokens = batch_tokens
        self._render, self._split, self._logit = render, split, logit
        self._pool = ThreadPoolExecutor(scorer.workers, "pairs") if scorer.workers > 1 else None
        self._temperature, self._bias, self._prior_weight = temperature, bias, prior_weight
        self._usual_words = usual_words
        self.uses_prior = prior_weight != 0.0
        self._choice = choice

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score ``documents`` in their order, in length-sorted batches."""
        if not documents:
            return []
        if self._scorer is None:
            raise RuntimeError(f"the reranker {self.spec.name} is closed")
        parts = [self._split(query, document) for document in documents]
        texts = [self._render(part) for row in parts for part in row]
        found = np.empty(len(texts), dtype=np.float32)
        # The longest first, so that no thread is left with a long one at the end.
        batches = list(self._encoder.batches(query, texts, self._batch_tokens))[::-1]
        run = map if self._pool is None else self._pool.map
        for batch, logits in zip(batches, run(self._scorer, batches), strict=True):
            found[batch.rows] = self._logit(logits)
        # A document counts for its best part. A score that is no number stays one, and is refused below.
        raws = np.maximum.reduceat(found, np.cumsum([0, *map(len, parts[:-1])]))
        if not np.isfinite(raws).all():
            raise RuntimeError(f"the reranker {self.spec.name} returned a score that is no number")
        return [
            Score(sigmoid((self._with_prior(float(raw), document) + self._bias) / self._temperature), float(raw))
            for raw, document in zip(raws, documents, strict=True)
        ]

    @property
    def chooses(self) -> bool:
        """Whether the model says how sure a choice among candidates is."""
        return self._choice is not None

    def among(self, query: str, documents: Sequence[Document], scores: Sequence[Score]) -> list[Score]:
        """Return for each document the probability that it, and no other or none, is the answer; see :class:`Choice`.

        Only candidates of a first stage are such a list. Anything else, as labels of a text, is judged on its own.
        """
        if self._choice is None or any(document.prior is None for document in documents):
            return list(scores)
        found = self._choice.probabilities(self._with_priors(documents, scores))
        return [replace(score, probability=one) for score, one in zip(scores, found, strict=True)]

    def odds(self, documents: Sequence[Document], scores: Sequence[Score]) -> list[float]:
        """Return the log-odds of each candidate of one question against "nobody answered".

        Raises:
            RuntimeError: the model says nothing about that; see :attr:`chooses`.
        """
        if self._choice is None:
            raise RuntimeError(f"the reranker {self.spec.name} does not say how sure a choice is")
        return [self._choice.scale * one - self._choice.nothing for one in self._with_priors(documents, scores)]

    def _with_priors(self, documents: Sequence[Document], scores: Sequence[Score]) -> list[float]:
        more = growth([len(document.text.split()) for document in documents], self._usual_words)
        return [self._with_prior(score.raw, document, more) for score, document in zip(scores, documents, strict=True)]

    def _with_prior(self, raw: float, document: Document, more: float = 1.0) -> float:
        return raw + more * self._prior_weight * log_odds(document.prior)

    def close(self) -> None:
        """Free the graph."""
        self._scorer = None
        if self._pool is not None:
            self._pool.shutdown()
