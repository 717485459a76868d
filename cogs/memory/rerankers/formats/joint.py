"""A multilingual cross-encoder in two graphs: question and message are read apart below, and together above.

The folder of the format ``joint`` holds ``lower.onnx``, ``upper.onnx`` and ``mneme.json``. The lower graph maps
``inputs_embeds`` and ``position_ids`` of one text to hidden states, the upper one ``hidden_states`` of question and
message one after the other, with ``token_type_ids`` (0 the question's, 1 the message's), to one logit. So a question is
read once for all its candidates, and what the lower layers know of a language stays as the base has it. The words are
those that the models of this project share (``data/models/mneme-words``); ``words_sha256`` in ``mneme.json`` says which
table it was trained on. The rest of ``mneme.json`` is as in :mod:`.onnx_cross_encoder`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from cogs.memory.inference.model_folders import read_json, require_folder
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.onnx_graphs import sha256_of
from cogs.memory.inference.plain_tokenizer import CHARACTERS_PER_TOKEN
from cogs.memory.inference.words import (
    BEGIN,
    END,
    TABLE_FILE,
    WORDS_DIR,
    WordPieces,
    WordsUnavailable,
    WordTable,
    word_pieces,
    word_table,
)
from cogs.memory.rerankers.chat_text import passages, render_chat
from cogs.memory.rerankers.formats.onnx_cross_encoder import Calibrated, calibrated
from cogs.memory.rerankers.pairs import ONNX_ERRORS, Ids, Logits, PairBatch, PairReranker

Hidden = npt.NDArray[np.float32]

QUESTION: Final = "query: "
MESSAGE: Final = "passage: "
"""What the base was trained to read before each kind of text."""
QUESTION_TOKENS: Final = 64


@dataclass(frozen=True, slots=True)
class JointBatch(PairBatch):
    """One pair: the message's ids, and the hidden states (1, tokens, width) of the question."""

    asked: Hidden


class JointEncoder:
    """A question and its candidates → one batch for each candidate, the shortest first."""

    def __init__(self, graphs: JointGraphs, pieces: WordPieces, max_length: int, max_document_tokens: int) -> None:
        self._graphs, self._pieces = graphs, pieces
        self._max_length, self._max_document_tokens = max_length, max_document_tokens

    def batches(self, query: str, documents: Sequence[str], batch_tokens: int) -> Iterator[PairBatch]:
        """Yield the pairs one by one: what is computed of a pair depends on no other."""
        bound = self._max_length * CHARACTERS_PER_TOKEN
        asked, *said = self._pieces.ids(
            [QUESTION + query[:bound], *(MESSAGE + document[:bound] for document in documents)]
        )
        question = _marked(asked, QUESTION_TOKENS)
        hidden = self._graphs.lower(question)
        room = min(self._max_length - question.shape[1], self._max_document_tokens)
        rows = [_marked(ids, room) for ids in said]
        for row in sorted(range(len(rows)), key=lambda number: rows[number].shape[1]):
            ids = rows[row]
            types = np.ones_like(ids)
            yield JointBatch(np.array([row]), ids, np.ones_like(ids), types, hidden)


class JointGraphs:
    """The two graphs on the CPU through ONNX Runtime; each pair runs on one of ``workers`` threads."""

    def __init__(self, folder: Path, table: WordTable, threads: int | None) -> None:
        self.workers = threads or os.cpu_count() or 1
        self._table = table
        self._lower = _session(folder / "lower.onnx")
        self._upper = _session(folder / "upper.onnx")

    def lower(self, ids: Ids) -> Hidden:
        """Return the hidden states, float32 (1, tokens, width), of the ids (1, tokens) of one text."""
        places = np.arange(ids.shape[1], dtype=np.int64)[None]
        given = {"inputs_embeds": self._table.vectors(ids), "position_ids": places}
        return _run(self._lower, given)

    def __call__(self, batch: PairBatch) -> Logits:
        """Return the logit of one pair, float32 (1, 1).

        Raises:
            TypeError: the batch is not a :class:`JointBatch`.
        """
        if not isinstance(batch, JointBatch):
            raise TypeError("a joint model reads the batches of its own encoder")
        said = self.lower(batch.input_ids)
        types = np.concatenate([np.zeros((1, batch.asked.shape[1]), np.int64), batch.token_type_ids], axis=1)
        given = {"hidden_states": np.concatenate([batch.asked, said], axis=1), "token_type_ids": types}
        return _run(self._upper, given).reshape(1, 1)


def load(spec: RerankerSpec, options: LoadOptions) -> PairReranker:
    """Load a shipped folder.

    Raises:
        RerankerUnavailable: the folder or a file is missing, damaged, or made for another rendering or other words.
    """
    folder = require_folder(spec, options)
    about = read_json(folder / "mneme.json")
    settings = calibrated(about, spec, folder)
    for name in ("lower", "upper"):
        _check(folder / f"{name}.onnx", about.get(f"{name}_sha256"), spec, "fetch or train it again")
    _check(WORDS_DIR / TABLE_FILE, about.get("words_sha256"), spec, "it was trained on other words")
    try:
        pieces, table = word_pieces(), word_table()
    except WordsUnavailable as error:
        raise RerankerUnavailable(str(error)) from error
    return joint(spec, options, folder, settings, pieces, table)


def joint(
    spec: RerankerSpec, options: LoadOptions, folder: Path, settings: Calibrated, pieces: WordPieces, table: WordTable
) -> PairReranker:
    """Return the reranker of a folder's graphs over the given words.

    Args:
        spec: its entry in ``rerankers.yaml``.
        options: threads and limits of this machine.
        folder: holds ``lower.onnx`` and ``upper.onnx``.
        settings: its calibration and limit.
        pieces: texts to ids.
        table: ids to vectors, of the width that the graphs read.
    """
    graphs = JointGraphs(folder, table, options.threads)
    return PairReranker(
        spec,
        JointEncoder(graphs, pieces, settings.max_length, options.max_document_tokens),
        graphs,
        1,
        render=render_chat,
        split=passages,
        temperature=settings.temperature,
        bias=settings.bias,
        prior_weight=settings.prior_weight,
        usual_words=settings.usual_words,
        choice=settings.choice,
    )


def _marked(ids: Sequence[int], room: int) -> Ids:
    return np.array([[BEGIN, *ids[: max(0, room - 2)], END]], dtype=np.int64)


def _check(file: Path, stated: Any, spec: RerankerSpec, otherwise: str) -> None:
    if not file.is_file():
        raise RerankerUnavailable(f"The reranker {spec.name} needs {file}, which is missing; fetch or train it again.")
    if stated is not None and sha256_of(file) != stated:
        raise RerankerUnavailable(f"The file {file} of {spec.name} has not the stated SHA-256: {otherwise}.")


def _session(graph: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except ONNX_ERRORS as error:
        raise RerankerUnavailable(f"The ONNX graph {graph} cannot be loaded: {error}.") from error


def _run(session: onnxruntime.InferenceSession, given: dict[str, Any]) -> npt.NDArray[np.float32]:
    try:
        return np.asarray(session.run(None, given)[0], dtype=np.float32)
    except ONNX_ERRORS as error:
        raise RuntimeError(f"ONNX Runtime failed: {error}") from error
