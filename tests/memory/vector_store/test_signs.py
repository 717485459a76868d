"""The approximate index: used only where it has shown its recall, and as forgetful as the exact one."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest

from cogs.memory.inference.profiles import MemoryProfile
from cogs.memory.vector_store import faiss as store_module
from cogs.memory.vector_store import signs
from cogs.memory.vector_store.faiss import FaissStore
from cogs.memory.vector_store.segment import KINDS, SIGNS, Segment

DIM = 64
ROWS = 12_000
CHANNELS = frozenset(range(7))
Array = npt.NDArray[np.float32]


def clustered(rows: int, seed: int = 0, shift: float = 0.0) -> Array:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((60, DIM))
    vectors = centres[rng.integers(0, 60, rows)] + 0.7 * rng.standard_normal((rows, DIM)) + shift
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def filled(directory: Path, kind: str = SIGNS, shift: float = 0.0) -> FaissStore:
    store = FaissStore(DIM, directory, kind, "tiny@1")
    ids = np.arange(ROWS) + 1000
    store.add(ids % 7, ids, ids * 2, clustered(ROWS, shift=shift))
    return store


@pytest.fixture(autouse=True)
def _small_indexes_count_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "APPROXIMATE_ROWS", 1000)


def recall(store: FaissStore, exact: FaissStore, channels: frozenset[int]) -> float:
    shares = []
    for query in clustered(20, seed=5):
        right = {i for i, _ in exact.search(query, channels, 50)}
        hits = store.search(query, channels, 50)
        assert {i % 7 for i, _ in hits} <= channels
        assert len(hits) == 50
        shares.append(len(right & {i for i, _ in hits}) / 50)
    return float(np.mean(shares))


def test_a_profile_may_name_every_kind_and_no_other() -> None:
    assert set(get_args(MemoryProfile.model_fields["index"].annotation)) == set(KINDS)


@pytest.mark.parametrize("channels", [CHANNELS, frozenset({0, 3, 5}), frozenset({2})])
def test_once_proven_it_finds_what_the_exact_search_finds_with_the_same_cosines(
    tmp_path: Path, channels: frozenset[int]
) -> None:
    store, exact = filled(tmp_path / "signs"), filled(tmp_path / "flat", "flat-fp16")
    store.prove()
    assert store.proof is not None
    assert store.proof.oversampling is not None
    assert recall(store, exact, channels) >= 0.99
    query = clustered(1, seed=6)[0]
    right = dict(exact.search(query, channels, 60))
    for message_id, cosine in store.search(query, channels, 50):
        assert cosine == pytest.approx(right.get(message_id, cosine), abs=1e-5)
    assert "% of the exact" in store.stats().kind


def test_it_looks_at_fewer_rows_than_the_exact_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)
    store.prove()
    decoded: list[int] = []
    decode = Segment.decode

    def counted(segment: Segment, rows: npt.NDArray[np.int64]) -> Array:
        decoded.append(len(rows))
        return decode(segment, rows)

    monkeypatch.setattr(Segment, "decode", counted)
    store.search(clustered(1, seed=7)[0], CHANNELS, 10)
    assert 80 <= sum(decoded) < ROWS / 3


def test_until_it_is_proven_and_after_it_outgrew_its_proof_it_searches_exactly(tmp_path: Path) -> None:
    store, exact = filled(tmp_path / "signs"), filled(tmp_path / "flat", "flat-fp16")
    query = clustered(1, seed=8)[0]
    assert store.search(query, CHANNELS, 50) == exact.search(query, CHANNELS, 50)
    store.prove()
    first = store.proof
    assert first is not None
    store.prove()
    assert store.proof is first, "nothing grew, so nothing is measured again"
    ids = np.arange(ROWS // 2) + 50_000
    for one in (store, exact):
        one.add(ids % 7, ids, ids, clustered(len(ids), seed=9))
    assert store.search(query, CHANNELS, 50) == exact.search(query, CHANNELS, 50)
    store.prove()
    assert store.proof is not None
    assert store.proof.rows == ROWS + ROWS // 2


def test_vectors_whose_signs_say_nothing_are_searched_exactly_and_it_is_told(tmp_path: Path) -> None:
    # Shifted so far that all components are positive: every row has the same signs.
    store, exact = filled(tmp_path / "signs", shift=50.0), filled(tmp_path / "flat", "flat-fp16", shift=50.0)
    store.prove()
    assert store.proof is not None
    assert store.proof.oversampling is None
    assert "exact search: signs find only" in store.stats().kind
    assert recall(store, exact, CHANNELS) == 1.0


def test_edits_and_deletions_count_at_once_and_a_snapshot_brings_the_signs_back(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.prove()
    aim = clustered(1, seed=10)
    best = [i for i, _ in store.search(aim[0], CHANNELS, 5)]
    store.remove(best)
    one = np.ones(1, dtype=np.int64)
    store.add(one * 3, one * 1500, one * 9, aim)
    hits = [i for i, _ in store.search(aim[0], CHANNELS, 50)]
    assert hits[0] == 1500
    assert not set(best) & set(hits)
    store.save(7)
    again = FaissStore(DIM, tmp_path, SIGNS, "tiny@1")
    assert again.load() == 7
    again.prove()
    assert [i for i, _ in again.search(aim[0], CHANNELS, 50)] == hits


def test_filters_are_exact(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.prove()
    query = clustered(1, seed=11)[0]
    worst = [i for i, _ in store.search(query, frozenset({1}), ROWS)][-30:]
    assert [i for i, _ in store.search(query, CHANNELS, 50, np.array(worst))] == worst


def test_proving_an_index_that_is_emptied_meanwhile_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path)

    def emptied(*_: object, **__: object) -> npt.NDArray[np.int64]:
        store.remove(store.known()[0].tolist())
        return np.zeros(1, dtype=np.int64)

    monkeypatch.setattr(signs, "trial", emptied)
    monkeypatch.setattr(store._lock, "read", nullcontext)
    store.prove()
    assert store.proof is None
