"""Search: the exact per-channel index against plain NumPy, its start from a snapshot, and the keyword search."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from cogs.bench import chatter
from cogs.bench.measure import Config, PathFigures, PathPlan, Run, interleave, machine, peak_memory
from cogs.bench.report import Bench, Series, Target
from cogs.bench.vectors import Rows, Vectors, rows
from cogs.memory.records import Filters, IncomingMessage, Scope
from cogs.memory.storage.keyword_index import SqliteKeywords
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.scope import ScopedReader
from cogs.memory.text.terms import keyword_query
from cogs.memory.vector_store.base import VectorStore
from cogs.memory.vector_store.faiss import FaissStore
from cogs.memory.vector_store.guild_indexes import GuildIndexes

K: Final = 50
QUERIES: Final = 10
NUMPY: Final = "numpy float32"
KINDS: Final = ("flat-fp16", "flat-int8", "signs-fp16")
SCOPES: Final = ("1 channel", "1 %", "all")
REBUILD, SNAPSHOT = "start: rebuild from the database", "start: snapshot"
MODEL_KEY: Final = "generated"
Found = list[list[tuple[int, float]]]
Search = Callable[[Vectors, frozenset[int]], list[tuple[int, float]]]


class NumpyStore:
    """The simplest exact search: each channel's vectors in float32, one product, the best of it."""

    def __init__(self, data: Rows) -> None:
        order = np.argsort(data.channel_ids, kind="stable")
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        self._vectors = np.empty((len(order), data.dim), dtype=np.float32)
        for part, vectors in data.batches():
            self._vectors[place[part]] = vectors
        self._ids = data.message_ids[order]
        names, starts = np.unique(data.channel_ids[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        self._spans = {int(n): (int(s), e) for n, s, e in zip(names, starts, ends, strict=True)}

    def search(self, query: Vectors, channel_ids: frozenset[int]) -> list[tuple[int, float]]:
        """Return the best :data:`K` of the channels."""
        if len(channel_ids) == len(self._spans):
            scores, ids = self._vectors @ query, self._ids
        else:
            spans = [slice(*self._spans[channel]) for channel in channel_ids]
            scores = np.concatenate([self._vectors[span] @ query for span in spans])
            ids = np.concatenate([self._ids[span] for span in spans])
        best = np.argpartition(-scores, K)[:K] if len(scores) > K else np.arange(len(scores))
        best = best[np.lexsort((-ids[best], -scores[best]))]
        return list(zip(ids[best].tolist(), scores[best].tolist(), strict=True))


def _faiss(data: Rows, kind: str, folder: Path) -> FaissStore:
    store = FaissStore(data.dim, folder, kind=kind)
    ids = data.message_ids
    for part, vectors in data.batches():
        store.add(data.channel_ids[part], ids[part], ids[part], vectors)
    store.prove()
    return store


def _store(kind: str, data: Rows, folder: Path) -> Search:
    if kind == NUMPY:
        return NumpyStore(data).search
    store: VectorStore = _faiss(data, kind, folder)
    return lambda query, channel_ids: store.search(query, channel_ids, K)


def _asking(search: Search, queries: Vectors, scope: frozenset[int]) -> Callable[[], Found]:
    return lambda: [search(query, scope) for query in queries]


def build(path: str, config: Config) -> Run:
    """Fill an index as ``path`` ("scope: kind") says; what it returns asks all questions."""
    scope, kind = path.split(": ", 1)
    data = rows(config["messages"], config["dim"])
    search = _store(kind.removeprefix("mneme "), data, Path(config["folder"]) / "own")
    return _asking(search, data.queries(QUERIES), data.scopes[scope])


def run(
    messages: int,
    rounds: int,
    threads: int,
    *,
    dim: int = 384,
    database: bool = True,
    sweep: Sequence[int] = (),
    memory: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Measure search over ``messages`` vectors; ``sweep`` are other sizes, for the plot.

    Args:
        messages: how many vectors are searched.
        rounds: how often each path runs.
        threads: threads of NumPy's and FAISS' paths.
        dim: the vectors' dimension.
        database: whether the start from a snapshot and the keyword search are measured too.
        sweep: other numbers of vectors, for the plot.
        memory: whether each path's peak memory is measured too, in a process of its own.
        say: called with one sentence for each step, for a progress line.
    """
    about = machine()
    bench = Bench("search", {}, about)
    bench.facts = {"messages": messages, "dim": dim, "k": K, "queries": QUERIES}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config: Config = {"messages": messages, "dim": dim, "folder": scratch, "threads": threads}
        data = rows(messages, dim)
        bench.facts["scope_rows"] = {
            name: int(np.isin(data.channel_ids, list(scope)).sum()) for name, scope in data.scopes.items()
        }
        say(f"filling the indexes with {messages:,} vectors")
        _measure_vectors(bench, data, folder, rounds)
        if memory:
            for name, figures in bench.paths.items():
                if name.startswith("all"):
                    say(f"memory: {name}")
                    figures.note_memory(peak_memory(__name__, name, config))
        if database:
            say(f"writing {messages:,} messages and vectors into a database")
            _measure_database(bench, data, folder, rounds)
        if sweep:
            _sweep(bench, sweep, dim, folder, say)
    bench.notes = [
        f"{messages:,} generated vectors of {dim} dimensions in {len(data.scopes['all'])} channels of Zipf's sizes; "
        f"seconds are of one query, the {K} best.",
        "ratio is against plain NumPy in float32 within the same scope (of the start, against the rebuild; of the "
        "keyword search, against the vectors' in the same scope).",
        "The largest difference is of the cosines of the same message from NumPy's; recall in the JSON is the share of "
        f"NumPy's {K} best that are among the {K} found.",
        "The keywords' share_of_best_bm25 in the JSON is what the messages found have of the BM25 of the best of all "
        "that hold a word. How many messages hold a frequent word is kept for ten minutes; the first round, not "
        "counted, fills that.",
        "Memory is of a process that holds this one index.",
    ]
    bench.targets = _targets(bench)
    return bench


def _measure_vectors(bench: Bench, data: Rows, folder: Path, rounds: int) -> None:
    stores: dict[str, Search] = {NUMPY: NumpyStore(data).search}
    for kind in KINDS:
        store = _faiss(data, kind, folder / kind)
        bench.facts[f"bytes_per_message {kind}"] = round(store.stats().bytes / len(store), 1)
        if store.proof is not None:
            bench.facts[f"proof {kind}"] = str(store.proof)
        stores[f"mneme {kind}"] = _bound(store)
    queries = data.queries(QUERIES)
    for scope in SCOPES:
        plans = [PathPlan(f"{scope}: {kind}", f"{scope}: {NUMPY}") for kind in stores]
        runs: dict[str, Run] = {
            plan.name: _asking(search, queries, data.scopes[scope])
            for plan, search in zip(plans, stores.values(), strict=True)
        }
        timings = interleave(runs, rounds)
        right: Found = timings.results[f"{scope}: {NUMPY}"]
        for plan in plans:
            figures = _per_query(timings.figures(plan))
            found: Found = timings.results[plan.name]
            figures.max_difference = _difference(found, right)
            figures.facts["recall_at_50"] = round(recall(found, right), 5)
            bench.paths[plan.name] = figures


def _bound(store: FaissStore) -> Search:
    return lambda query, channel_ids: store.search(query, channel_ids, K)


def _per_query(figures: PathFigures) -> PathFigures:
    figures.seconds /= QUERIES
    figures.spread = (figures.spread[0] / QUERIES, figures.spread[1] / QUERIES)
    return figures


def recall(found: Found, right: Found) -> float:
    """Return the share of the right ids that were found."""
    total = sum(map(len, right))
    hit = sum(len({i for i, _ in f} & {i for i, _ in r}) for f, r in zip(found, right, strict=True))
    return hit / total if total else 1.0


def _difference(found: Found, right: Found) -> float:
    worst = 0.0
    for ours, theirs in zip(found, right, strict=True):
        cosines = dict(theirs)
        worst = max([worst, *(abs(score - cosines[i]) for i, score in ours if i in cosines)])
    return worst


def _messages(data: Rows) -> list[IncomingMessage]:
    import dataclasses

    generated = chatter.messages(len(data.channel_ids))
    return [
        dataclasses.replace(message, channel_id=int(channel), reply_to_id=None)
        for message, channel in zip(generated, data.channel_ids, strict=True)
    ]


def fill(repository: Repository, data: Rows) -> None:
    """Write every row's message and vector."""
    repository.guilds.upsert(chatter.GUILD, "generated")
    repository.guilds.upsert_channels(chatter.channels(len(data.scopes["all"])))
    every = _messages(data)
    for part, vectors in data.batches():
        repository.messages.save(every[part])
        pending = repository.vectors.pending(len(vectors))
        first = part.start
        places = [(item.message.id - chatter.FIRST_MESSAGE) // 4096 - first for item in pending]
        repository.vectors.save(MODEL_KEY, pending, vectors[places], lambda kept, seqs: None)


def _measure_database(bench: Bench, data: Rows, folder: Path, rounds: int) -> None:
    (folder / "data").mkdir()
    repository = Repository.open(f"sqlite:///{folder / 'data' / 'mneme.db'}", folder / "data")
    try:
        fill(repository, data)
        kept = folder / "indexes"

        def opened(directory: Path, *, snapshots: bool) -> GuildIndexes:
            indexes = GuildIndexes(repository, MODEL_KEY, data.dim, directory, "flat-fp16", snapshots=snapshots)
            indexes.store(chatter.GUILD)
            return indexes

        indexes = opened(kept, snapshots=True)
        indexes.save()

        def rebuild() -> None:
            opened(folder / "none", snapshots=False).close()

        def from_snapshot() -> None:
            opened(kept, snapshots=True).close()

        timings = interleave({REBUILD: rebuild, SNAPSHOT: from_snapshot}, min(rounds, 3), warm_up=False)
        for name in (REBUILD, SNAPSHOT):
            bench.paths[name] = timings.figures(PathPlan(name, REBUILD))
        _measure_keywords(bench, repository, indexes, data, rounds)
        shutil.rmtree(kept, ignore_errors=True)
    finally:
        repository.close()


def _measure_keywords(bench: Bench, repository: Repository, indexes: GuildIndexes, data: Rows, rounds: int) -> None:
    rng = random.Random(11)
    questions = [f"{query} {chatter.rare_word(rng)}" for query in chatter.QUERIES * 2][:QUERIES]
    queries, store = data.queries(QUERIES), indexes.store(chatter.GUILD)
    for scope in SCOPES:
        vectors, words = f"{scope}: vectors", f"{scope}: keywords"
        within = Scope.of(chatter.GUILD, data.scopes[scope])

        def keywords(within: Scope = within) -> Any:
            return [repository.keywords.candidates(keyword_query(q), within, Filters(), K) for q in questions]

        timings = interleave({vectors: _asking(_bound(store), queries, data.scopes[scope]), words: keywords}, rounds)
        bench.paths[words] = figures = _per_query(timings.figures(PathPlan(words, vectors)))
        shares = [_attained(repository, q, f, within) for q, f in zip(questions, timings.results[words], strict=True)]
        figures.facts["share_of_best_bm25"] = round(float(np.mean(shares)), 4)


def _attained(repository: Repository, question: str, found: Sequence[tuple[int, float]], within: Scope) -> float:
    """Return the BM25 of what was found as a share of what the best of all matches have together."""
    scores = SqliteKeywords(repository.database, ScopedReader(repository.database)).scores_of_all(
        keyword_query(question), within
    )
    best = sum(sorted(scores.values(), reverse=True)[:K])
    return sum(scores.get(number, 0.0) for number, _ in found) / best if best else 1.0


def _sweep(bench: Bench, sizes: Sequence[int], dim: int, folder: Path, say: Callable[[str], None]) -> None:
    lines: dict[str, list[float | None]] = {}
    for size in sizes:
        say(f"other sizes: {size:,}")
        partial = Bench("search", {}, bench.machine)
        _measure_vectors(partial, rows(size, dim), folder / f"sweep-{size}", 3)
        for name, figures in partial.paths.items():
            if not name.startswith("1 channel"):
                lines.setdefault(name, []).append(figures.seconds)
    bench.series["messages"] = Series(
        "Search: time of one query against messages", "messages", "seconds", tuple(map(float, sizes)), lines
    )


def _targets(bench: Bench) -> list[Target]:
    worst = min(
        bench.paths[f"{scope}: mneme {k}"].facts["recall_at_50"]
        for scope in SCOPES
        for k in ("flat-fp16", "signs-fp16")
    )
    size = bench.facts["bytes_per_message flat-fp16"]
    targets = [
        Target(
            "recall@50 ≥ 0.99 against exact for every scope (fp16, signs)", f"{worst:.4f}", worst >= 0.99, exact=True
        ),
        Target("≤ 0.8 KB a message in memory (fp16)", f"{size:.0f} bytes", size <= 819.2),
    ]
    if SNAPSHOT in bench.paths:
        ratio = bench.paths[SNAPSHOT].ratio
        targets.append(Target("start from a snapshot ≥ 5× faster than a rebuild", f"{ratio:.1f}×", ratio >= 5))
        whole = bench.paths["all: keywords"].ratio
        targets.append(Target("keyword search of all no slower than the vectors'", f"{whole:.2f}×", whole >= 1))
    return targets
