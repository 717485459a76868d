"""The folder of word pieces and word vectors that the shipped models share, from the source's own 4-bit blocks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from cogs.lab.training.embedder.source import BLOCK_BYTES, Bytes
from cogs.memory.inference.words import BEGIN, END, PAD, PIECES_FILE, TABLE_FILE, UNKNOWN

_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
_MASK = "<mask>"


def write_words(folder: Path, pieces: Sequence[str], scores: Sequence[float], blocks: Bytes) -> None:
    """Write ``words.model`` and ``words.safetensors``.

    ``blocks`` are (rows, bytes), each block of 18 bytes a float16 scale and 32 halves: they are taken apart, not
    computed anew, so that nothing is lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PIECES_FILE).write_bytes(sentencepiece_model(pieces, scores))
    split = blocks.reshape(len(blocks), -1, BLOCK_BYTES)
    tensors = {
        "scales": np.ascontiguousarray(split[..., :2]).view("<f2").reshape(len(blocks), -1),
        "packed": np.ascontiguousarray(split[..., 2:]).reshape(len(blocks), -1),
    }
    save_file(tensors, folder / TABLE_FILE)


def sentencepiece_model(pieces: Sequence[str], scores: Sequence[float]) -> bytes:
    """Return the pieces as sentencepiece's ``ModelProto``: Unigram, a leading ``▁``, texts taken as they come.

    Source: ``sentencepiece_model.proto`` (fields: 1 pieces, 2 trainer, 3 normalizer).
    """
    marks = {BEGIN: _CONTROL, PAD: _CONTROL, END: _CONTROL, UNKNOWN: _UNKNOWN}
    rows = []
    for number, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
        kind = _CONTROL if piece == _MASK else marks.get(number, _NORMAL)
        body = _bytes(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, kind)
        rows.append(_bytes(1, body))
    trainer = _number(3, 1) + _number(40, UNKNOWN) + _number(41, BEGIN) + _number(42, END) + _number(43, PAD)
    return b"".join(rows) + _bytes(2, trainer) + _bytes(3, _bytes(1, b"identity"))


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
