"""The shared words: any text gives ids, typed marks stay text, and the table's 4 bits are what the source had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.lab.training.embedder.source import dequantized
from cogs.lab.training.embedder.words import write_words
from cogs.memory.inference.words import (
    TABLE_FILE,
    UNKNOWN,
    WordPieces,
    WordsUnavailable,
    WordTable,
    cleaned,
    word_pieces,
    word_table,
)

PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", "▁hello", "▁he", "llo", "s", "<", ">", "/", "é", "<mask>")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 256, (len(PIECES), 2 * 18), dtype=np.uint8)
    blocks.reshape(-1, 18)[:, :2] = np.full((len(PIECES) * 2, 1), 0.25, "<f2").view(np.uint8)
    write_words(tmp_path, PIECES, [-float(i) for i in range(len(PIECES))], blocks)
    np.save(tmp_path / "expected.npy", dequantized(blocks.reshape(len(PIECES), 2, 18)).reshape(len(PIECES), 64))
    return tmp_path


def test_the_table_gives_the_vectors_of_the_blocks_in_the_shape_of_the_ids(folder: Path) -> None:
    table = WordTable(folder / TABLE_FILE)
    ids = np.array([[3, 0, 13], [5, 5, 1]])
    assert table.vectors(ids).dtype == np.float32
    assert np.array_equal(table.vectors(ids), np.load(folder / "expected.npy")[ids])
    assert (table.rows, table.dim) == (len(PIECES), 64)


def test_a_mark_that_a_person_types_is_text(folder: Path) -> None:
    pieces = WordPieces(folder / "words.model")
    (typed,) = pieces.ids(["<s>hello</s>"])
    assert not {0, 1, 2, 13} & set(typed)
    assert pieces.ids(["hello"]) == [[PIECES.index("▁hello")]]
    assert UNKNOWN in pieces.ids(["hello 漢"])[0]


def test_compatibility_forms_and_controls_are_unified() -> None:
    assert cleaned("e\u0301\x07 ﬁn\u200b ﾃｽﾄ") == "é fin  テスト"
    assert cleaned("１０〜２０ ～") == "10〜20 ～"


@settings(deadline=None)  # the first call reads the files
@given(st.text(st.characters(codec=None), max_size=60))
def test_any_text_gives_ids_of_the_table_and_no_marks(text: str) -> None:
    (ids,) = word_pieces().ids([text])
    assert all(UNKNOWN <= i < word_table().rows for i in ids)


@pytest.mark.parametrize("text", ["Wo wohnt Anna?", "彼女はどこに住んでいますか", "أين تعيش فاطمة؟", "Где живёт Иван?"])
def test_many_scripts_are_read_without_unknown_pieces(text: str) -> None:
    (ids,) = word_pieces().ids([text])
    assert UNKNOWN not in ids
    assert word_pieces().text(ids) == cleaned(text)


def test_missing_and_damaged_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(WordsUnavailable, match=r"words\.model"):
        WordPieces(tmp_path / "words.model")
    (tmp_path / TABLE_FILE).write_bytes(b"\x10\0\0\0\0\0\0\0{broken")
    with pytest.raises(WordsUnavailable, match=r"words\.safetensors"):
        WordTable(tmp_path / TABLE_FILE)
