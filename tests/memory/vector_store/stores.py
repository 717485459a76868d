"""Stores to try, and what they are filled with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cogs.memory.vector_store.faiss import FaissStore

DIM = 32
Array = npt.NDArray[np.float32]


def unit(rows: int, seed: int = 0, dim: int = DIM) -> Array:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def filled(directory: Path, rows: int = 10_000, channels: int = 7, kind: str = "flat-fp16") -> FaissStore:
    store = FaissStore(DIM, directory, kind, "tiny@1")
    ids = np.arange(rows) + 1000
    store.add(ids % channels, ids, ids * 2, unit(rows))
    return store


def found(store: FaissStore, query: Array, channels: set[int], k: int = 50) -> list[int]:
    return [message_id for message_id, _ in store.search(query, frozenset(channels), k)]


def contained(path: Path, needles: list[bytes]) -> list[bool]:
    raw = path.read_bytes()
    return [needle in raw for needle in needles]
