"""A tiny source model in the published file's layout: what the reader, the trainer and the export are tried on."""

from __future__ import annotations

import struct

import numpy as np

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 64, 2, 4, 128, 48
PIECES = ("<s>", "<pad>", "</s>", "<unk>", *(chr(point) for point in range(33, 127)), "▁", "<mask>")
EXTRA_ROWS = 3
NORMALISED = {0xFB01: "fi"}


def source_bytes(seed: int = 0) -> bytes:
    """Return a file: random weights, one piece for each ASCII character."""
    rng = np.random.default_rng(seed)
    rows = len(PIECES) + EXTRA_ROWS
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack("<7if", HIDDEN, LAYERS, HEADS, INNER, rows, POSITIONS, 2, 1e-12) + struct.pack("<i", 32)
    blob = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, blob)]).astype("<u4")
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, int(ends[-1])) + ends.tobytes()
    head += np.linspace(-5, -1, len(PIECES)).astype("<f4").tobytes() + b"".join(blob)
    head += struct.pack("<iI", len(NORMALISED), 0)
    for point, text in NORMALISED.items():
        head += struct.pack("<IB", point, len(text)) + struct.pack(f"<{len(text)}I", *map(ord, text))
    tensors: list[tuple[str, int, int, bytes]] = [("emb.word", 1, rows * HIDDEN, _blocks(rng, rows * HIDDEN))]

    def plain(name: str, values: np.ndarray) -> None:
        tensors.append((name, 0, values.size, values.astype("<f4").tobytes()))

    plain("emb.pos", rng.normal(0, 0.02, POSITIONS * HIDDEN))
    plain("emb.type", rng.normal(0, 0.02, 2 * HIDDEN))
    plain("emb.ln.w", np.ones(HIDDEN))
    plain("emb.ln.b", np.zeros(HIDDEN))
    for layer in range(LAYERS):
        for name, (out, given) in {
            **dict.fromkeys(("q", "k", "v", "ao"), (HIDDEN, HIDDEN)),
            "fi": (INNER, HIDDEN),
            "fo": (HIDDEN, INNER),
        }.items():
            tensors.append((f"l{layer}.{name}.w", 1, out * given, _blocks(rng, out * given)))
            plain(f"l{layer}.{name}.b", np.zeros(out))
        for name in ("aln", "oln"):
            plain(f"l{layer}.{name}.w", np.ones(HIDDEN))
            plain(f"l{layer}.{name}.b", np.zeros(HIDDEN))
    size = len(head) + 4 + sum(2 + len(name) + 21 for name, *_ in tensors)
    directory, body = struct.pack("<i", len(tensors)), b""
    for name, kind, elements, data in tensors:
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, elements, size + len(body), len(data))
        body += data
    return head + directory + body


def _blocks(rng: np.random.Generator, elements: int) -> bytes:
    blocks = rng.integers(0, 256, (elements // 32, 18), dtype=np.uint8)
    blocks[:, :2] = np.full((elements // 32, 1), 0.02, "<f2").view(np.uint8)
    return blocks.tobytes()
