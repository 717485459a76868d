"""The vector stores of one embedder, one per server: opened when first needed, brought level with the database."""

from __future__ import annotations

import logging
import re
import shutil
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cogs.memory.storage.repository import Repository
from cogs.memory.storage.vectors import PendingMessage
from cogs.memory.vector_store.base import Ids, VectorStats
from cogs.memory.vector_store.faiss import FaissStore

log = logging.getLogger(__name__)
SNAPSHOT_SECONDS = 60.0
"""A changed index is written at most this often; what is newer is replayed from the database."""


class GuildIndexes:
    """The indexes of one embedder. Safe to call from any thread; never on the event loop.

    Args:
        repository: where the vectors of messages lie.
        model_key: identifies the embedder.
        dim: the vectors' dimension.
        directory: the folder of all indexes.
        kind: how vectors are held, as in :class:`MemoryProfile`.
        snapshots: whether the indexes are saved; off where another process owns the files.
    """

    def __init__(
        self, repository: Repository, model_key: str, dim: int, directory: Path, kind: str, *, snapshots: bool = True
    ) -> None:
        self.model_key = model_key
        self.dim = dim
        self._repository = repository
        # The kind is part of the name: the folder of what a switch leaves behind is deleted, and must be its own.
        self._directory = directory / re.sub(r"[^A-Za-z0-9.-]+", "_", f"{model_key}_{kind}")
        self._kind = kind
        self._snapshots = snapshots  # off where another process owns the files
        self._stores: dict[int, FaissStore] = {}
        self._changed: dict[int, float] = {}
        self.problem: str | None = None
        self._lock = threading.RLock()

    def store(self, guild_id: int) -> FaissStore:
        """Return a server's store, level with the database.

        A snapshot that is missing, damaged or from another embedder is ignored: the vectors come from the database.
        """
        found = self._stores.get(guild_id)
        if found is not None:
            return found
        # Only the lock of the indexes, which writers take after their commit: a question needs no database lock that
        # another process may hold. What is committed while the rows are read comes in, or goes, right after.
        with self._lock:
            if guild_id not in self._stores:
                self._stores[guild_id] = self._open(guild_id)
            return self._stores[guild_id]

    def _open(self, guild_id: int) -> FaissStore:
        store = FaissStore(self.dim, self._directory / str(guild_id), kind=self._kind, model_key=self.model_key)
        if self._snapshots:
            store.load()
        if self._fill(store, guild_id):
            self._changed[guild_id] = time.monotonic()
        return store

    def _fill(self, store: FaissStore, guild_id: int) -> bool:
        """Take out what the database does not have and put in what it has; return whether anything came in."""
        stale, missing = _apart(*store.known(), *self._repository.vectors.numbers(guild_id, self.model_key))
        if len(stale):
            store.remove(stale.tolist())
        for channel_ids, message_ids, change_numbers, vectors in self._repository.vectors.read(
            self.model_key, missing.tolist()
        ):
            store.add(channel_ids, message_ids, change_numbers, vectors)
        return bool(len(missing))

    def add(
        self, items: Sequence[PendingMessage], vectors: npt.NDArray[np.float32], kept: list[int], seqs: list[int]
    ) -> None:
        """Take in what was just committed; called while nobody else may write."""
        with self._lock:  # an index that is being opened may have read its rows before this commit
            self._add(items, vectors, kept, seqs)

    def _add(
        self, items: Sequence[PendingMessage], vectors: npt.NDArray[np.float32], kept: list[int], seqs: list[int]
    ) -> None:
        by_guild: dict[int, list[int]] = {}
        for position, i in enumerate(kept):
            by_guild.setdefault(items[i].message.guild_id, []).append(position)
        for guild_id, positions in by_guild.items():
            store = self._stores.get(guild_id)
            if store is None:
                continue  # it will read these rows when it is opened
            rows = [kept[p] for p in positions]
            store.add(
                np.array([items[i].message.channel_id for i in rows], dtype=np.int64),
                np.array([items[i].message.id for i in rows], dtype=np.int64),
                np.array([seqs[p] for p in positions], dtype=np.int64),
                vectors[rows],
            )
            self._changed.setdefault(guild_id, time.monotonic())

    def remove(self, guild_id: int, message_ids: Collection[int]) -> None:
        """Take messages out, in memory and on disk; called after the commit, while nobody else may write."""
        with self._lock:
            # A store that was never opened may still have a snapshot that holds them.
            if guild_id in self._stores or self._snapshot(guild_id).exists():
                self.store(guild_id).remove(list(message_ids))
                self._changed.setdefault(guild_id, time.monotonic())

    def drop_guild(self, guild_id: int) -> None:
        """Forget a server's index and delete its files."""
        with self._lock:
            store = self._stores.pop(guild_id, None)
            if store is not None:
                store.close()
            shutil.rmtree(self._snapshot(guild_id), ignore_errors=True)

    def _snapshot(self, guild_id: int) -> Path:
        return self._directory / str(guild_id)

    def differences(self) -> tuple[int, int]:
        """Return how many vectors the indexes hold that the database does not, and how many they lack."""
        strays = lacks = 0
        for guild_id in self._repository.guilds.ids():
            with self._repository.write_lock:
                stale, missing = _apart(
                    *self.store(guild_id).known(), *self._repository.vectors.numbers(guild_id, self.model_key)
                )
            strays += len(stale)
            lacks += len(missing)
        return strays, lacks

    def level(self) -> None:
        """Bring every open index level with the database again, after a commit whose answer was lost.

        Raises:
            StorageError: the database cannot be read; the indexes are as they were.
        """
        for guild_id in list(self._stores):
            with self._repository.write_lock, self._lock:
                store = self._stores.get(guild_id)
                if store is not None and self._fill(store, guild_id):
                    self._changed.setdefault(guild_id, time.monotonic())

    def save(self, *, due_only: bool = False) -> None:
        """Write the snapshots of changed indexes; all, or those that have waited long enough."""
        if not self._snapshots:
            return
        now = time.monotonic()
        with self._lock:
            due = [g for g, since in self._changed.items() if not due_only or now - since >= SNAPSHOT_SECONDS]
        for guild_id in due:
            with self._repository.write_lock, self._lock:
                store = self._stores.get(guild_id)
                if store is not None:
                    self._write(guild_id, store)

    def prove(self) -> None:
        """Let approximate indexes that grew measure their recall again."""
        for store in list(self._stores.values()):
            store.prove()

    def _write(self, guild_id: int, store: FaissStore) -> None:
        try:
            store.save(time.time_ns() // 1000)
        except OSError as error:
            # A snapshot only saves time at the next start, so it may wait; the database holds everything.
            self.problem = f"the index snapshot of server {guild_id} could not be written ({error.strerror})"
            log.warning("%s; it is tried again later", self.problem)
            self._changed[guild_id] = time.monotonic()
        else:
            self._changed.pop(guild_id, None)
            self.problem = None

    def same_as(self, other: GuildIndexes) -> bool:
        """Return whether another one would hold the same vectors in the same form."""
        return (self.model_key, self.dim, self._kind) == (other.model_key, other.dim, other._kind)

    def stats(self) -> VectorStats:
        """Return what the open stores hold together."""
        all_stats = [store.stats() for store in list(self._stores.values())]
        kinds = "; ".join(dict.fromkeys(s.kind for s in all_stats)) or self._kind
        return VectorStats(sum(s.vectors for s in all_stats), sum(s.bytes for s in all_stats), kinds)

    def close(self) -> None:
        """Write what changed and free the memory."""
        self.save()
        for store in list(self._stores.values()):
            store.close()
        self._stores.clear()

    def discard(self) -> None:
        """Free the memory and delete the files."""
        for guild_id in list(self._stores):
            self.drop_guild(guild_id)
        shutil.rmtree(self._directory, ignore_errors=True)

    def discard_others(self) -> None:
        """Delete the snapshots of embedders that are not in use; the database holds their vectors."""
        if self._directory.parent.is_dir():
            for folder in self._directory.parent.iterdir():
                if folder.is_dir() and folder != self._directory:
                    shutil.rmtree(folder, ignore_errors=True)


def _apart(held: Ids, held_seqs: Ids, true: Ids, true_seqs: Ids) -> tuple[Ids, Ids]:
    """Return the ids that are held but not true, or not in this version, and those that are true but not held so."""
    order = np.argsort(true)
    true, true_seqs = true[order], true_seqs[order]
    if not len(true):
        return held, true
    place = np.minimum(np.searchsorted(true, held), len(true) - 1)
    same = (true[place] == held) & (true_seqs[place] == held_seqs)
    lacking = np.ones(len(true), dtype=bool)
    lacking[place[same]] = False
    return held[~same], true[lacking]
