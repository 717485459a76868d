"""The embedded store: exact within a scope, forgets on disk, and never reads a damaged snapshot."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cogs.memory.vector_store.base import VectorStore
from cogs.memory.vector_store.faiss import FaissStore
from cogs.memory.vector_store.segment import ROWS

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


def test_it_is_a_vector_store(tmp_path: Path) -> None:
    assert isinstance(FaissStore(DIM, tmp_path), VectorStore)
    with pytest.raises(ValueError, match="flat-fp16"):
        FaissStore(DIM, tmp_path, kind="hnsw")


@pytest.mark.parametrize(("kind", "least"), [("flat-fp16", 0.99), ("flat-int8", 0.9)])
@pytest.mark.parametrize("channels", [{3}, {0, 5}, set(range(7)), {3, 99}])
def test_a_scope_is_searched_exactly_and_nothing_outside_it(
    tmp_path: Path, kind: str, least: float, channels: set[int]
) -> None:
    store = filled(tmp_path, kind=kind)
    vectors, ids = unit(10_000), np.arange(10_000) + 1000
    inside = np.isin(ids % 7, list(channels))
    recalls = []
    for query in unit(10, seed=1):
        hits = store.search(query, frozenset(channels), 50)
        assert len(hits) == 50
        assert {message_id % 7 for message_id, _ in hits} <= channels
        assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
        scores = vectors[inside] @ query
        truth = set(ids[inside][np.argsort(-scores)[:50]].tolist())
        recalls.append(len(truth & {message_id for message_id, _ in hits}) / 50)
        assert abs(hits[0][1] - scores.max()) < 0.02
    assert np.mean(recalls) >= least


def test_a_large_scope_is_divided_among_threads_with_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, rows=30_000)
    query = unit(1, seed=2)[0]
    alone = store.search(query, frozenset(range(7)), 100)
    monkeypatch.setattr("cogs.memory.vector_store.faiss.PARALLEL_ROWS", 100)
    monkeypatch.setattr(store, "_threads", 3)
    assert store.search(query, frozenset(range(7)), 100) == alone
    store.close()


def test_filters_narrow_inside_the_search_so_that_k_hits_are_still_found(tmp_path: Path) -> None:
    store = filled(tmp_path)
    query = unit(1, seed=3)[0]
    best = found(store, query, {1, 2}, 10_000)
    # The very worst thirty of the scope, and some of other channels: a filter after the search would find none.
    allowed = np.array([*best[-30:], 1000, 1004, 5, 10**15])
    hits = store.search(query, frozenset({1, 2}), 50, allowed)
    assert [message_id for message_id, _ in hits] == best[-30:]
    assert store.search(query, frozenset({1, 2}), 50, np.array([], dtype=np.int64)) == []
    assert store.search(query, frozenset(), 50) == []
    assert store.search(query, frozenset({77}), 50) == []
    assert store.search(query, frozenset({1}), 0) == []


def test_an_edit_replaces_the_vector_and_a_move_leaves_one(tmp_path: Path) -> None:
    store = filled(tmp_path)
    one = np.ones(1, dtype=np.int64)
    aim = unit(1, seed=4)
    store.add(one * 3, one * 1500, one * 9, aim)
    assert len(store) == 10_000
    assert found(store, aim[0], {3}, 1) == [1500]
    assert 1500 not in found(store, aim[0], {1500 % 7}, 10_000)
    twice = np.array([1500, 1500])
    store.add(np.array([3, 4]), twice, np.array([10, 11]), np.concatenate([-aim, aim]))
    assert found(store, aim[0], {4}, 1) == [1500]
    ids, seqs = store.known()
    assert seqs[ids == 1500].tolist() == [11]


def test_bad_vectors_are_refused_and_change_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path, rows=100)
    bad = unit(1)
    bad[0, 0] = np.nan
    one = np.ones(1, dtype=np.int64)
    with pytest.raises(ValueError, match="no number"):
        store.add(one, one, one, bad)
    with pytest.raises(ValueError, match="shape"):
        store.add(one, one, one, unit(2))
    with pytest.raises(ValueError, match="dimensions"):
        store.search(unit(1, dim=8)[0], frozenset({1}), 5)
    assert len(store) == 100


def test_a_message_costs_no_more_than_its_codes_and_two_numbers(tmp_path: Path) -> None:
    store = FaissStore(384, tmp_path)
    ids = np.arange(2 * ROWS)
    store.add(np.ones_like(ids), ids, ids, unit(len(ids), dim=384))
    assert store.stats().vectors == len(ids)
    assert store.stats().bytes == len(ids) * (384 * 2 + 16)


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
    store.remove_channels([2])
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


def contained(path: Path, needles: list[bytes]) -> list[bool]:
    raw = path.read_bytes()
    return [needle in raw for needle in needles]


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
    assert store.remove_channels([3, 99]) == len(gone)
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


def test_searches_beside_writes_removals_and_snapshots_stay_inside_their_scope(tmp_path: Path) -> None:
    store = filled(tmp_path, rows=5000)
    stop, errors = threading.Event(), list[BaseException]()

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                while not stop.is_set():
                    work()
            except BaseException as error:  # noqa: BLE001 - shown by the test below
                errors.append(error)

        return run

    queries = unit(8, seed=11)

    def search() -> None:
        for query in queries:
            for message_id, score in store.search(query, frozenset({1, 2}), 50):
                assert message_id % 7 in (1, 2)
                assert -1.01 <= score <= 1.01

    threads = [threading.Thread(target=guarded(search)) for _ in range(3)]
    threads.append(threading.Thread(target=guarded(lambda: store.save(1))))
    for thread in threads:
        thread.start()
    rng = np.random.default_rng(1)
    for step in range(60):
        ids = np.arange(200) + 10_000 + 200 * step
        store.add(ids % 7, ids, ids, unit(200, seed=step))
        store.remove(rng.integers(1000, 10_000 + 200 * step, 150).tolist())
    stop.set()
    for thread in threads:
        thread.join(10)
    assert errors == []
    store.save(2)
    again = FaissStore(DIM, tmp_path, model_key="tiny@1")
    again.load()
    assert sorted(again.known()[0].tolist()) == sorted(store.known()[0].tolist())


class StoreMachine(RuleBasedStateMachine):
    """Random adds, edits, moves, removals, snapshots and restarts against a dictionary."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = FaissStore(4, Path(self.folder.name), model_key="m")
        self.truth: dict[int, tuple[int, int]] = {}
        self.seq = 0

    @rule(data=st.data(), count=st.integers(1, 150), channels=st.integers(1, 4))
    def add(self, data: st.DataObject, count: int, channels: int) -> None:
        start = data.draw(st.integers(0, 300))
        ids = np.arange(start, start + count)
        self.seq += 1
        self.store.add(ids % channels, ids, np.full(count, self.seq), unit(count, dim=4))
        self.truth.update({int(i): (int(i % channels), self.seq) for i in ids})

    @rule(start=st.integers(0, 400), count=st.integers(1, 100))
    def remove(self, start: int, count: int) -> None:
        there = [i for i in range(start, start + count) if i in self.truth]
        assert self.store.remove(list(range(start, start + count))) == len(there)
        for i in there:
            del self.truth[i]

    @rule(channel=st.integers(0, 4))
    def remove_channel(self, channel: int) -> None:
        there = [i for i, (c, _) in self.truth.items() if c == channel]
        assert self.store.remove_channels([channel]) == len(there)
        for i in there:
            del self.truth[i]

    @rule()
    def restart(self) -> None:
        self.seq += 1
        self.store.save(self.seq)
        self.store.close()
        self.store = FaissStore(4, Path(self.folder.name), model_key="m")
        assert self.store.load() == self.seq

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        ids, seqs = self.store.known()
        assert dict(zip(ids.tolist(), seqs.tolist(), strict=True)) == {i: seq for i, (_, seq) in self.truth.items()}
        assert len(ids) == len(self.store) == len(self.truth)
        for channel in range(4):
            hits = self.store.search(unit(1, dim=4)[0], frozenset({channel}), 1000)
            assert {i for i, _ in hits} == {i for i, (c, _) in self.truth.items() if c == channel}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
