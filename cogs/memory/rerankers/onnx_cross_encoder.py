"""A cross-encoder that comes as an ONNX graph: the shipped default, and the machinery other ONNX formats share.

The folder of format ``onnx-cross-encoder`` holds ``model.onnx``, ``tokenizer.json`` and ``mneme.json``::

    {"rendering": "chat", "max_length": 256, "temperature": 1.0, "bias": 0.0, "score": "logit"}

``model_sha256`` may be given too, and is then checked. The probability is sigmoid((logit + prior_weight · log-odds of
the prior + bias) / temperature), the prior being the first stage's probability; ``prior_weight`` is 0 where it is not
given. ``"choice": {"scale": 1.0, "nothing": -2.0}`` makes probabilities of a question's candidates together, see
:class:`Choice`; the prior then weighs more where they have more than ``usual_words`` words, see :func:`growth`.
"""

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

from cogs.memory.batches import length_sorted_batches
from cogs.memory.embedding_onnx import sha256_of
from cogs.memory.rerankers.base import (
    Document,
    LoadOptions,
    Reranker,
    RerankerSpec,
    RerankerUnavailable,
    Scale,
    Score,
    sigmoid,
)
from cogs.memory.rerankers.chat_text import RENDERING, passages, render_chat
from cogs.memory.rerankers.files import load_tokenizer, read_json, require_folder
from cogs.memory.rerankers.probabilities import Choice, growth, log_odds

CPU_BATCH_TOKENS: Final = 256
"""Padded tokens of one run on a CPU: what it computes then stays in the cache (256 takes half as long as 512)."""
CHARACTERS_PER_TOKEN: Final = 64
"""A text is cut at this many characters for each token of the limit before it is tokenized, to bound the time."""

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


Marks = list[tuple[int, int]]


class PlainTokenizer:
    """A ``tokenizer.json`` for which no text of a person ever becomes a special token.

    ``also_special`` names tokens that a format uses as marks whether or not the file calls them special.
    """

    def __init__(self, tokenizer_file: Path, also_special: Sequence[str] = ()) -> None:
        self._tokenizer = load_tokenizer(tokenizer_file)
        self._tokenizer.encode_special_tokens = True
        special = {
            number: token.content
            for number, token in self._tokenizer.get_added_tokens_decoder().items()
            if token.special
        }
        for token in also_special:
            if (number := self.id_of(token)) is not None:
                special[number] = token
        names = {content: number for number, content in special.items()}
        self._unknown = next((names[token] for token in ("[UNK]", "<unk>") if token in names), None)
        self._special = {number: content for number, content in special.items() if number != self._unknown}
        self.pad_id = next((names[token] for token in ("[PAD]", "<pad>", "<|endoftext|>") if token in names), 0)

    def id_of(self, token: str) -> int | None:
        """Return the id of a token, or ``None``."""
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without the marks around it; lone surrogates become question marks."""
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(clean, add_special_tokens=False)]
        return [
            ids if self._special.keys().isdisjoint(ids) else self._spelled(text)
            for ids, text in zip(rows, clean, strict=True)
        ]

    def _spelled(self, text: str) -> list[int]:
        # SentencePiece vocabularies hold "</s>" as a piece, so its text still finds it; a space inside breaks it up.
        for content in self._special.values():
            text = text.replace(content, f"{content[0]} {content[1:]}")
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        # What only becomes a special token by normalisation ("＜/s＞") is replaced or left out.
        instead = [] if self._unknown is None else [self._unknown]
        return [kept for token in ids for kept in (instead if token in self._special else [token])]

    def pair_template(self) -> tuple[Marks, Marks, Marks, int, int]:
        """Return what stands before, between and after a pair, as (id, type), and the types of its two texts."""
        sample = self._tokenizer.encode("a", "a")
        sides, marks = sample.sequence_ids, list(zip(sample.ids, sample.type_ids, strict=True))
        first, second = sides.index(0), sides.index(1)
        end_first, end_second = first + sides.count(0), second + sides.count(1)
        return (
            marks[:first],
            marks[end_first:second],
            marks[end_second:],
            sample.type_ids[first],
            sample.type_ids[second],
        )


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
    """

    scale: ClassVar[Scale] = "logit"

    def __init__(
        self,
        spec: RerankerSpec,
        encoder: PairEncoder,
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

    def among(self, documents: Sequence[Document], scores: Sequence[Score]) -> list[Score]:
        """Return the probabilities that each is the answer where one of these, or none, is; see :class:`Choice`.

        Only candidates of a first stage are such a list. Anything else, as labels of a text, is judged on its own.
        """
        if self._choice is None or any(document.prior is None for document in documents):
            return list(scores)
        more = growth([len(document.text.split()) for document in documents], self._usual_words)
        numbers = [
            self._with_prior(score.raw, document, more) for score, document in zip(scores, documents, strict=True)
        ]
        found = self._choice.probabilities(numbers)
        return [replace(score, probability=one) for score, one in zip(scores, found, strict=True)]

    def _with_prior(self, raw: float, document: Document, more: float = 1.0) -> float:
        return raw + more * self._prior_weight * log_odds(document.prior)

    def close(self) -> None:
        """Free the graph."""
        self._scorer = None
        if self._pool is not None:
            self._pool.shutdown()


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
    if about.get("rendering") != RENDERING or about.get("score", "logit") != "logit":
        raise RerankerUnavailable(
            f"The reranker {spec.name} in {folder} was trained for the rendering {about.get('rendering')!r} and the "
            f"score {about.get('score')!r}; this program writes {RENDERING!r} and reads 'logit'."
        )
    expected = about.get("model_sha256")
    if expected is not None and sha256_of(graph) != expected:
        raise RerankerUnavailable(
            f"The graph of {spec.name} in {folder} is damaged: its SHA-256 is not the stated one."
        )
    temperature, bias = float(about.get("temperature", 1.0)), float(about.get("bias", 0.0))
    if not temperature > 0:
        raise RerankerUnavailable(f"The reranker {spec.name} states a temperature of {temperature}, which is not > 0.")
    usual = about.get("usual_words")
    if usual is not None and not float(usual) > 0:
        raise RerankerUnavailable(f"The reranker {spec.name} states {usual!r} usual words, which is not > 0.")
    choice = Choice.of(about.get("choice"), spec.name)
    max_length = min(int(about.get("max_length", spec.max_length)), spec.max_length)
    scorer = OnnxPairScorer(graph, options.threads)
    return PairReranker(
        spec,
        PairEncoder(folder / "tokenizer.json", max_length, options.max_document_tokens, "document"),
        scorer,
        min(options.batch_tokens, scorer.batch_tokens),
        render=render_chat,
        split=passages,
        temperature=temperature,
        bias=bias,
        prior_weight=float(about.get("prior_weight", 0.0)),
        usual_words=None if usual is None else float(usual),
        choice=choice,
    )
