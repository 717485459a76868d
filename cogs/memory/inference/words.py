"""The word pieces and word vectors that the models of this project share: one vocabulary, one table of 4 bits.

The folder holds ``words.model`` (the pieces and scores of XLM-R's Unigram model, as sentencepiece reads them) and
``words.safetensors`` with ``packed`` (uint8, rows × dim / 2) and ``scales`` (float16, rows × dim / 32). Of a block of
32 weights the 16 bytes hold weight j in the low half of byte j and weight j + 16 in its high half; a weight is
``(q - 8) * scale``. The table is mapped, not read: only the pages of the words that occur come into memory.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sentencepiece

from cogs.memory.errors import MnemeError
from config.settings import PROJECT_DIR

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

WORDS_DIR: Final = PROJECT_DIR / "data" / "models" / "mneme-words"
PIECES_FILE: Final = "words.model"
TABLE_FILE: Final = "words.safetensors"
BLOCK: Final = 32
BEGIN, PAD, END, UNKNOWN = 0, 1, 2, 3
"""The ids of ``<s>``, ``<pad>``, ``</s>`` and ``<unk>``. A text never contains them, whatever is typed."""

_KEPT: Final = "\uf8fe"
_CLEANED: Final = {
    **dict.fromkeys([*range(1, 9), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F]),
    **dict.fromkeys(
        [0x09, 0x0A, 0x0C, 0x0D, 0x1680, *range(0x200B, 0x2010), 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD], " "
    ),
    0xFF5E: _KEPT,  # NFKC would make the wave dash a tilde; the model knows it as a piece of its own
}


class WordsUnavailable(MnemeError):
    """The shared word pieces or vectors cannot be read; the message is one sentence that says why."""


def cleaned(text: str) -> str:
    """Return a text as the vocabulary was made for: compatibility characters unified, control characters gone."""
    if text.isascii() and text.isprintable():
        return text
    plain = unicodedata.normalize("NFKC", text.translate(_CLEANED)).replace(_KEPT, "\uff5e")
    return plain.encode("utf-8", "replace").decode("utf-8")


class WordPieces:
    """Texts → ids of word pieces. May be used by several threads at once."""

    def __init__(self, file: Path) -> None:
        try:
            self._processor: Any = sentencepiece.SentencePieceProcessor(model_file=str(file))
        except (OSError, RuntimeError) as error:
            raise WordsUnavailable(f"The word pieces cannot be read from {file}: {error}.") from error

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, without marks of beginning and end."""
        found: list[list[int]] = self._processor.encode([cleaned(text) for text in texts])
        return found

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of a few ids."""
        decoded: str = self._processor.decode(list(ids))
        return decoded


class WordTable:
    """Ids of word pieces → their vectors. May be used by several threads at once."""

    def __init__(self, file: Path) -> None:
        try:
            with file.open("rb") as opened:
                length = int.from_bytes(opened.read(8), "little")
                header = json.loads(opened.read(length))
            places = {name: _mapped(file, 8 + length, header[name]) for name in ("packed", "scales")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WordsUnavailable(f"The word vectors cannot be read from {file}: {error}.") from error
        self._packed, self._scales = places["packed"], places["scales"]
        self.rows, self.dim = len(self._packed), self._packed.shape[1] * 2

    def vectors(self, ids: Ids) -> Vectors:
        """Return float32 vectors of shape (…, dim), one for each id."""
        known, places = np.unique(ids, return_inverse=True)
        packed = self._packed[known].reshape(len(known), -1, BLOCK // 2)
        halves = np.concatenate([packed & 15, packed >> 4], axis=-1).astype(np.float32)
        scales = self._scales[known].astype(np.float32)
        weights: Vectors = ((halves - 8) * scales[..., None]).reshape(len(known), self.dim)
        found: Vectors = weights[places.reshape(ids.shape)]
        return found


def _mapped(file: Path, start: int, entry: dict[str, Any]) -> npt.NDArray[Any]:
    kind: npt.DTypeLike = {"U8": "u1", "F16": "<f2"}[entry["dtype"]]
    rows, columns = entry["shape"]
    low, _ = entry["data_offsets"]
    table: npt.NDArray[Any] = np.memmap(file, kind, "r", start + int(low), (int(rows), int(columns)))
    return table


@cache
def word_pieces(folder: Path = WORDS_DIR) -> WordPieces:
    """Return the pieces of a folder; every model of the process shares them.

    Raises:
        WordsUnavailable: they are missing or damaged.
    """
    return WordPieces(folder / PIECES_FILE)


@cache
def word_table(folder: Path = WORDS_DIR) -> WordTable:
    """Return the vectors of a folder; every model of the process shares them.

    Raises:
        WordsUnavailable: they are missing or damaged.
    """
    return WordTable(folder / TABLE_FILE)
