"""Snapshots: whole again, gone from the bytes on disk what was removed, and never a damaged row."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogs.memory.vector_store.faiss import FaissStore
from tests.memory.vector_store.stores import DIM, contained, filled, found, unit


def test_a_snapshot_comes_back_whole(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.save(77)
    query = unit(1, seed=5)[0]
    expected = store.search(query, frozenset({1, 4}), 50)
    store.close()
    again = FaissStore(DIM, tmp_path, model_key="tiny@1")
    assert again.load() == 77
    assert again.search(query, frozenset({1, 4}), 50) == expected
    ids, seqs = again.known()
    assert dict(zip(ids.tolist(), seqs.tolist(), strict=True)) == {i: 2 * i for i in range(1000, 11_000)}


def test_what_changed_after_a_snapshot_is_in_the_next_one(tmp_path: Path) -> None:
    store = filled(tmp_path, rows=300)
    store.save(1)
    ids = np.arange(5000) + 50_000
    store.add(ids % 7, ids, ids, unit(5000, seed=9))  # the segments outgrow their places
    store.remove(list(range(1000, 1100)))
    store.remove([i for i in store.known()[0].tolist() if i % 7 == 2])
    store.save(2)
    again = FaissStore(DIM, tmp_path, model_key="tiny@1")
    assert again.load() == 2
    for ours, theirs in zip(store.known(), again.known(), strict=True):
        assert sorted(ours.tolist()) == sorted(theirs.tolist())
    query = unit(1, seed=6)[0]
    assert again.search(query, frozenset(range(7)), 5000) == store.search(query, frozenset(range(7)), 5000)


def test_a_snapshot_of_another_model_kind_or_dimension_is_refused(tmp_path: Path) -> None:
    others: tuple[Callable[[], FaissStore], ...] = (
        lambda: FaissStore(DIM, tmp_path, model_key="tiny@2"),
        lambda: FaissStore(DIM, tmp_path, "flat-int8", "tiny@1"),
        lambda: FaissStore(2 * DIM, tmp_path, model_key="tiny@1"),
    )
    for other in others:
        store = filled(tmp_path, rows=100)
        store.save(1)
        store.close()
        stranger = other()
        assert stranger.load() is None
        assert len(stranger) == 0
        assert not (tmp_path / "vectors.idx").exists()
    assert FaissStore(DIM, tmp_path / "nothing").load() is None


@pytest.mark.parametrize("kind", ["flat-fp16", "flat-int8"])
def test_a_removed_message_is_gone_from_the_bytes_on_disk(tmp_path: Path, kind: str) -> None:
    store = filled(tmp_path, rows=5000, kind=kind)
    ids = [1234, 1235, 5999]
    needles = [int(i).to_bytes(8, "little") for i in ids]
    codes = []
    for segment in store._segments():
        for message_id in ids:
            codes += [bytes(segment.codes[row]) for row in np.flatnonzero(segment.ids == message_id)]
    store.save(1)
    path = tmp_path / "vectors.idx"
    assert contained(path, needles + codes) == [True] * 6
    assert store.remove([*ids, 10**12]) == 3
    assert contained(path, needles + codes) == [False] * 6
    # An edit is a removal of the old vector.
    one = np.ones(1, dtype=np.int64)
    old = bytes(next(s for s in store._segments() if 2000 in s.ids).codes[0])
    assert contained(path, [old]) == [True]
    victim = int(next(s for s in store._segments() if 2000 in s.ids).ids[0])
    store.add(one, one * victim, one, unit(1, seed=8))
    assert contained(path, [old]) == [False]
    again = FaissStore(DIM, tmp_path, kind, "tiny@1")
    assert again.load() == 1
    assert not np.isin(ids, again.known()[0]).any()
    assert len(again) >= 4990


def test_a_removed_channel_is_gone_from_the_bytes_on_disk(tmp_path: Path) -> None:
    store = FaissStore(DIM, tmp_path)
    ids = np.arange(1000) + 700_000_000_000_000_000
    store.add(ids % 7, ids, np.ones_like(ids), unit(1000))
    store.save(1)
    gone = [int(i) for i in ids if i % 7 == 3]
    needles = [i.to_bytes(8, "little") for i in gone]
    assert all(contained(tmp_path / "vectors.idx", needles))
    assert store.remove([*gone, 99]) == len(gone)
    assert not any(contained(tmp_path / "vectors.idx", needles))
    assert found(store, unit(1)[0], {3}) == []


def damage_byte(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x40]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), cut=st.booleans())
def test_damage_anywhere_loses_rows_at_most_and_never_invents_any(tmp_path: Path, where: float, cut: bool) -> None:
    path = tmp_path / "vectors.idx"
    store = filled(tmp_path, rows=2000)
    expected = {hit[0]: hit[1] for hit in store.search(unit(1)[0], frozenset(range(7)), 2000)}
    store.save(5)
    store.close()
    offset = int(path.stat().st_size * where)
    if cut:
        os.truncate(path, offset)
    else:
        damage_byte(path, offset)
    again = FaissStore(DIM, tmp_path, model_key="tiny@1")
    watermark = again.load()
    assert watermark in (None, 5)
    ids, seqs = again.known()
    assert (seqs == 2 * ids).all()
    for message_id, score in again.search(unit(1)[0], frozenset(range(7)), 2000):
        assert expected[message_id] == score
    # The caller brings back what is missing, and the next snapshot is whole.
    missing = np.setdiff1d(np.arange(2000) + 1000, ids)
    again.add(missing % 7, missing, missing * 2, unit(2000)[missing - 1000])
    again.save(6)
    third = FaissStore(DIM, tmp_path, model_key="tiny@1")
    assert third.load() == 6
    assert dict(third.search(unit(1)[0], frozenset(range(7)), 2000)) == expected
    third.close()
    again.close()
    path.unlink()


def test_a_process_killed_while_it_writes_leaves_only_sound_rows(tmp_path: Path) -> None:
    script = """
import os, sys
import numpy as np
from pathlib import Path
from cogs.memory.vector_store.faiss import FaissStore
store = FaissStore(32, Path(sys.argv[1]), model_key="tiny@1")
rng = np.random.default_rng(0)
i = 0
while True:
    ids = np.arange(i, i + 200)
    vectors = np.repeat((ids % 97 + 1.0)[:, None], 32, axis=1) * np.sign(np.sin(np.outer(ids + 1.0, np.arange(32) + 1)))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    store.add(ids % 5, ids, ids * 3, vectors.astype(np.float32))
    store.remove(rng.integers(0, i + 200, 20).tolist())
    store.save(i)
    i += 200
    if i == 400:
        print("ready", flush=True)
"""
    root = Path(__file__).resolve().parents[3]
    for attempt in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.Random(attempt).uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        store = FaissStore(DIM, tmp_path, model_key="tiny@1")
        assert store.load() is not None
        ids, seqs = store.known()
        assert len(ids) > 100
        assert len(np.unique(ids)) == len(ids)
        assert (seqs == ids * 3).all()
        for message_id in ids[:: max(1, len(ids) // 20)].tolist():
            vector = np.sign(np.sin((message_id + 1.0) * (np.arange(32) + 1))).astype(np.float32) / 32**0.5
            scores = dict(store.search(vector, frozenset({message_id % 5}), len(ids)))
            assert scores[message_id] == pytest.approx(1.0, abs=1e-3)
        store.close()
        (tmp_path / "vectors.idx").unlink()
