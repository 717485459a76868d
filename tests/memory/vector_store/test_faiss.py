"""The embedded store: exact within a scope, whatever happens beside the search."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cogs.memory.vector_store.base import VectorStore
from cogs.memory.vector_store.faiss import FaissStore
from cogs.memory.vector_store.segment import ROWS
from tests.memory.vector_store.stores import DIM, filled, found, unit


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
        assert self.store.remove(there) == len(there)
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
