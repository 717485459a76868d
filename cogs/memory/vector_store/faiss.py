"""The embedded vector store: FAISS codes by channel in the process, with a snapshot on disk."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import faiss
import numpy as np

from cogs.memory.vector_store import signs
from cogs.memory.vector_store.base import Ids, Vectors, VectorStats
from cogs.memory.vector_store.locks import ReadWriteLock
from cogs.memory.vector_store.segment import KINDS, NO_IDS, ROWS, SIGNS, Segment
from cogs.memory.vector_store.snapshot import Snapshot

log = logging.getLogger(__name__)
PARALLEL_ROWS = 50_000
"""A search over more rows than this is worth dividing among the cores."""
APPROXIMATE_ROWS = 200_000
"""A scope with fewer rows is searched exactly by every kind: that takes a few milliseconds."""


class FaissStore:
    """The vectors of one server and one embedder; see :class:`~cogs.memory.vector_store.base.VectorStore`.

    Each channel has its own segments, so a search reads the vectors of the channels in scope and no others.
    ``kind`` is ``flat-fp16`` (2 bytes a dimension), ``flat-int8`` (1), or ``signs-fp16``, which in large scopes
    searches the vectors' signs first, once :meth:`prove` has shown that this finds what the exact search does.
    ``model_key`` names what made the vectors: a snapshot of another is not read. Thread-safe: searches go on beside
    each other, and stop only while rows change.
    """

    def __init__(self, dim: int, directory: Path, kind: str = "flat-fp16", model_key: str = "") -> None:
        if kind not in KINDS:
            raise ValueError(f"there is no index {kind!r}; choose one of {', '.join(KINDS)}")
        self.dim = dim
        self.kind = kind
        self._channels: dict[int, list[Segment]] = {}
        self._lock = ReadWriteLock()
        # Held by whoever changes rows or the file, from the change in memory to the same on disk.
        self._change = threading.RLock()
        self._code_size = KINDS[kind](dim).code_size
        self._snapshot = Snapshot(directory, dim, self._code_size, f"{kind} {model_key}")
        self._threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._pool: ThreadPoolExecutor | None = None
        self.proof: signs.Proof | None = None

    def _segments(self) -> Iterator[Segment]:
        for segments in self._channels.values():
            yield from segments

    # -- changing ---------------------------------------------------------------------------------------------------

    def add(self, channel_ids: Ids, message_ids: Ids, seqs: Ids, vectors: Vectors) -> None:
        """Insert or replace vectors; a message lives in one channel and has one vector.

        Raises:
            ValueError: the shapes do not fit, or a vector is not finite.
        """
        if vectors.shape != (len(message_ids), self.dim) or not len(channel_ids) == len(message_ids) == len(seqs):
            raise ValueError(f"{len(message_ids)} messages came with vectors of shape {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise ValueError("a vector holds something that is no number")
        # Where a message comes twice, the last one counts.
        _, from_end = np.unique(message_ids[::-1], return_index=True)
        newest = np.sort(len(message_ids) - 1 - from_end)
        channel_ids, message_ids = channel_ids[newest], message_ids[newest]
        seqs, vectors = seqs[newest], vectors[newest]
        with self._change:
            with self._lock.write():
                touched = self._take_out(np.sort(message_ids))
                for channel_id in np.unique(channel_ids).tolist():
                    rows = np.flatnonzero(channel_ids == channel_id)
                    self._append(channel_id, message_ids[rows], seqs[rows], vectors[rows])
            self._erase_on_disk(touched)

    def _append(self, channel_id: int, ids: Ids, seqs: Ids, vectors: Vectors) -> None:
        segments = self._channels.setdefault(channel_id, [])
        done = 0
        while done < len(ids):
            if not segments or len(segments[-1]) == ROWS:
                segments.append(Segment(channel_id, self.dim, self.kind))
            end = done + min(ROWS - len(segments[-1]), len(ids) - done)
            segments[-1].append(ids[done:end], seqs[done:end], vectors[done:end])
            done = end

    def remove(self, message_ids: Sequence[int]) -> int:
        """Remove messages, in memory and in the snapshot on disk; return how many were there."""
        wanted = np.unique(np.asarray(message_ids, dtype=np.int64))
        with self._change:
            before = len(self)
            with self._lock.write():
                touched = self._take_out(wanted)
            self._erase_on_disk(touched)
            return before - len(self)

    def _take_out(self, wanted: Ids) -> list[Segment]:
        """Remove ids (sorted ascending) in memory; return the segments that held some."""
        touched = []
        for segment in list(self._segments()):
            rows = segment.rows_of(wanted)
            if len(rows):
                segment.remove(rows)
                touched.append(segment)
        self._drop_empty({segment.channel_id for segment in touched})
        return touched

    def _drop_empty(self, channel_ids: set[int]) -> None:
        for channel_id in channel_ids:
            left = [segment for segment in self._channels[channel_id] if len(segment)]
            if left:
                self._channels[channel_id] = left
            else:
                del self._channels[channel_id]

    # -- searching --------------------------------------------------------------------------------------------------

    def search(
        self, query: Vectors, channel_ids: frozenset[int], k: int, allowed: Ids | None = None
    ) -> list[tuple[int, float]]:
        """Return at most ``k`` ``(message id, cosine)`` of the given channels, best first; equal ones newest first.

        Exact, except for ``signs-fp16`` in a scope of more than :data:`APPROXIMATE_ROWS` without ``allowed``. ``query``
        has shape (dim,). ``allowed`` narrows further to those message ids.
        """
        if query.shape != (self.dim,):
            raise ValueError(f"a query of shape {query.shape} came to an index of {self.dim} dimensions")
        if k <= 0 or not channel_ids or (allowed is not None and not len(allowed)):
            return []
        query = np.ascontiguousarray(query, dtype=np.float32)
        wanted = None if allowed is None else np.unique(allowed)
        with self._lock.read():
            few = channel_ids if len(channel_ids) < len(self._channels) else self._channels.keys() & channel_ids
            segments = [s for channel_id in few for s in self._channels.get(channel_id, ())]
            total = sum(map(len, segments))
            scan = partial(_scan, query, k=k, allowed=wanted)
            if total > APPROXIMATE_ROWS and wanted is None and (factor := self._oversampling()):
                scan = partial(signs.nearest, query, candidates=factor * k)
            divided = total > PARALLEL_ROWS and self._threads > 1
            parts = self._parallel(scan, segments) if divided else [scan(segments)]
            ids = np.concatenate([ids for ids, _ in parts])
            scores = np.concatenate([scores for _, scores in parts])
        best = np.lexsort((-ids, -scores))[:k]
        return list(zip(ids[best].tolist(), scores[best].tolist(), strict=True))

    def cosines(self, query: Vectors, channel_ids: frozenset[int], message_ids: Ids) -> dict[int, float]:
        """Map those messages that are in the given channels to their cosine, by looking them up without a search."""
        if query.shape != (self.dim,):
            raise ValueError(f"a query of shape {query.shape} came to an index of {self.dim} dimensions")
        wanted, query = np.unique(message_ids), np.ascontiguousarray(query, dtype=np.float32)
        found: dict[int, float] = {}
        with self._lock.read():
            for channel_id in self._channels.keys() & channel_ids:
                for segment in self._channels[channel_id]:
                    rows = segment.rows_of(wanted)
                    if len(rows):
                        scores = segment.decode(rows) @ query
                        found.update(zip(segment.ids[rows].tolist(), scores.tolist(), strict=True))
        return found

    def _parallel(
        self, scan: Callable[[list[Segment]], tuple[Ids, Vectors]], segments: list[Segment]
    ) -> list[tuple[Ids, Vectors]]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="vectors")
        shares = [segments[i :: self._threads] for i in range(self._threads)]
        return list(self._pool.map(scan, shares))

    def _oversampling(self) -> int | None:
        proof = self.proof
        return proof.oversampling if proof is not None and proof.holds_for(len(self)) else None

    def prove(self) -> None:
        """Measure whether the signs find what the exact search finds, where that is due.

        Until it was shown, and where it fails, every search is exact. It takes some seconds in a large index, a trial
        at a time, so writers wait for one trial at most; call it in the background.
        """
        rows = len(self)
        if self.kind != SIGNS or rows <= APPROXIMATE_ROWS:
            return
        if self.proof is not None and self.proof.rows <= rows * signs.GROWTH and rows <= self.proof.rows * signs.GROWTH:
            return
        rng, places = np.random.default_rng(rows), []
        for number in range(signs.TRIALS):
            with self._lock.read():
                segments = list(self._segments())
                if not any(map(len, segments)):
                    return  # everything was forgotten meanwhile
                places.append(signs.trial(segments, _best_ids, rng, half=number % 2 == 1))
        self.proof = signs.judge(rows, np.concatenate(places))
        log.info("the approximate index of %d messages: %s", rows, self.proof)

    # -- the snapshot -----------------------------------------------------------------------------------------------

    @contextmanager
    def _file(self) -> Iterator[Snapshot]:
        with self._change:
            if not self._snapshot.is_open:
                self._snapshot.create()
            yield self._snapshot

    def save(self, watermark: int) -> None:
        """Write what changed since the last time. ``watermark`` comes back from :meth:`load`.

        Searches go on meanwhile. A crash in between costs the segments being written, whose rows
        the caller brings back from the database.
        """
        with self._file() as snapshot:
            for segment in self._segments():
                if segment.changed:
                    snapshot.write(segment)
            snapshot.sync(watermark)

    def load(self) -> int | None:
        """Read the snapshot and return its watermark; ``None`` where there is none that may be read.

        Call it once, on an empty store. What the snapshot holds may be older than the database, or lack damaged
        parts: compare :meth:`known` with the database's rows, remove what is not there, add what is missing.
        """
        with self._change, self._lock.write():
            try:
                return self._read()
            except OSError as error:
                log.warning("the index snapshot cannot be read (%s) and is made anew", error)
                self._channels.clear()
                self._snapshot.delete()
                return None

    def _read(self) -> int | None:
        watermark = self._snapshot.read_watermark()
        if watermark is None:
            return None
        for contents in self._snapshot.slots():
            segment = Segment(contents.channel_id, self.dim, self.kind)
            segment.restore(contents.ids, contents.seqs, contents.codes)
            segment.slot, segment.changed = contents.slot, segment.capacity != contents.capacity
            self._channels.setdefault(contents.channel_id, []).append(segment)
        self._drop_twins()
        return watermark

    def _drop_twins(self) -> None:
        """Take out what two slots hold, as a power cut may leave it; the database says which is right."""
        ids, counts = np.unique(np.concatenate([NO_IDS, *(s.ids for s in self._segments())]), return_counts=True)
        self._erase_on_disk(self._take_out(ids[counts > 1]))

    def known(self) -> tuple[Ids, Ids]:
        """Return ``(message ids, change numbers)`` of everything held, in no order."""
        with self._lock.read():
            segments = list(self._segments())
            if not segments:
                return NO_IDS.copy(), NO_IDS.copy()
            return np.concatenate([s.ids for s in segments]), np.concatenate([s.seqs for s in segments])

    def _erase_on_disk(self, segments: list[Segment]) -> None:
        on_disk = [segment for segment in segments if segment.slot is not None]
        if not on_disk:
            return
        try:
            for segment in on_disk:
                self._snapshot.write(segment)
            self._snapshot.sync()
        except OSError as error:
            # What must go goes: the file can be deleted even where nothing can be written, and is made anew later.
            log.warning("the index snapshot cannot be written (%s); it is deleted instead", error)
            self._delete_snapshot()

    def _delete_snapshot(self) -> None:
        self._snapshot.delete()
        for segment in self._segments():
            segment.slot, segment.changed = None, True

    # -- the rest ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return sum(len(segment) for segment in list(self._segments()))

    def stats(self) -> VectorStats:
        """Return what is held."""
        with self._lock.read():
            segments = list(self._segments())
            kind = self.kind if self.proof is None else f"{self.kind}, {self.proof}"
            return VectorStats(sum(map(len, segments)), sum(s.bytes for s in segments), kind)

    def close(self) -> None:
        """Free what is held; snapshots stay."""
        with self._change, self._lock.write():
            self._channels.clear()
            self._snapshot.close()
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None


def _best_ids(query: Vectors, segments: Sequence[Segment], k: int) -> Ids:
    ids, cosines = _scan(query, segments, k, None)
    return ids[np.lexsort((-ids, -cosines))[:k]]


def _scan(query: Vectors, segments: Sequence[Segment], k: int, allowed: Ids | None) -> tuple[Ids, Vectors]:
    """Return ids and cosines of the best ``k`` (or a few more) of the segments, in no order."""
    # One query at a time: FAISS's own threads divide queries, not rows, and would only be in the way.
    faiss.omp_set_num_threads(1)
    scores, rows = np.empty(k, dtype=np.float32), np.empty(k, dtype=np.int64)
    ids: list[Ids] = []
    kept: list[Vectors] = []
    for segment in segments:
        found = segment.search(query, scores, rows, allowed)
        ids.append(segment.ids[rows[:found]])
        kept.append(scores[:found].copy())
    if not ids:
        return NO_IDS, np.empty(0, dtype=np.float32)
    return np.concatenate(ids), np.concatenate(kept)
