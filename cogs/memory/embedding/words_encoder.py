"""The encoder of ``mneme-embedder``: the shared word vectors, then a graph of 8-bit weights through OpenVINO.

Its folder holds ``model.onnx`` (``inputs_embeds`` and ``attention_mask`` to ``embedding``) and ``mneme.json`` with
``words_sha256``, the word table that the graph was trained on, and ``model_sha256``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cogs.memory.embedding.openvino_encoder import OpenVinoRunner, Vectors
from cogs.memory.embedding.specs import EmbedderSpec, EmbedderUnavailable
from cogs.memory.inference.model_folders import read_json
from cogs.memory.inference.model_specs import RerankerUnavailable
from cogs.memory.inference.onnx_graphs import sha256_of
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

GRAPH: Final = "model.onnx"
SETTINGS: Final = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 128}
"""Activations in 8 bits, each 128 of them with a scale of their own: a cosine of 0.999 with float32 on chat messages, a
fifth faster than bfloat16 alone; with one scale for all of a token's 384, 0.998 and hardly faster."""


class WordsEncoder:
    """Texts → unit vectors. One call at a time.

    Args:
        graph: the encoder with pooling as ONNX, from word vectors to text vectors.
        max_length: tokens of a text at most, the special ones included.
        threads: by default one for each core.
        pieces: cuts texts into word pieces.
        table: the vectors of the word pieces.
    """

    def __init__(
        self, graph: bytes, max_length: int, threads: int | None, pieces: WordPieces, table: WordTable
    ) -> None:
        self._pieces, self._room = pieces, max_length - 2
        self._runner = OpenVinoRunner(graph, lambda ids: {"inputs_embeds": table.vectors(ids)}, threads, SETTINGS)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors, shape (n, dim), in the order of ``texts``."""
        return self._runner.run([[BEGIN, *ids[: self._room], END] for ids in self._pieces.ids(texts)])


def load_words_encoder(spec: EmbedderSpec, threads: int | None) -> WordsEncoder:
    """Load the encoder of an embedder's folder, which was checked against its digests.

    Raises:
        EmbedderUnavailable: a file is missing, damaged, or made for other words.
    """
    folder = Path(spec.id).expanduser()
    graph, table = folder / GRAPH, WORDS_DIR / TABLE_FILE
    for file in (graph, table):
        if not file.is_file():
            raise EmbedderUnavailable(f"The embedder {spec.name} needs {file}, which is missing; install it again.")
    try:
        about = read_json(folder / "mneme.json")
        expected = {graph: spec.sha256 or about.get("model_sha256"), table: about.get("words_sha256")}
        for file, digest in expected.items():
            if digest is not None and sha256_of(file) != digest:
                raise EmbedderUnavailable(
                    f"The file {file} is not the expected one of the embedder {spec.name}; install it again."
                )
        return WordsEncoder(graph.read_bytes(), spec.max_length, threads, word_pieces(), word_table())
    except (OSError, RerankerUnavailable, WordsUnavailable) as error:
        raise EmbedderUnavailable(f"The embedder {spec.name} in {folder} cannot be loaded: {error}") from error
