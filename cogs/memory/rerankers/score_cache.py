"""Scores that were computed before, dropped with their message."""

from __future__ import annotations

import threading
from collections.abc import Collection

from cachetools import Cache, LRUCache

from cogs.memory.rerankers.base import Score

CACHE_ENTRIES = 50_000
CacheKey = tuple[str, bytes, bytes]


class _Entries(LRUCache[CacheKey, tuple[Score, int | None]]):
    """Scores with the message that each was computed from, and which entries each message has."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.of_message: dict[int, set[CacheKey]] = {}

    def __setitem__(self, key: CacheKey, value: tuple[Score, int | None]) -> None:
        if key in self:
            del self[key]
        super().__setitem__(key, value)
        if value[1] is not None:
            self.of_message.setdefault(value[1], set()).add(key)

    def __delitem__(self, key: CacheKey) -> None:
        _, message_id = Cache.__getitem__(self, key)  # unlike self[key], this does not count as a use
        super().__delitem__(key)
        if message_id is not None:
            keys = self.of_message[message_id]
            keys.discard(key)
            if not keys:
                del self.of_message[message_id]

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self.of_message.clear()


class ScoreCache:
    """Scores that were computed before, bounded; an edit or a deletion drops what was computed from the message."""

    def __init__(self, entries: int = CACHE_ENTRIES) -> None:
        self._entries = _Entries(entries)
        self._lock = threading.Lock()
        self.drops = 0
        """How often something was dropped; see :meth:`put`."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: CacheKey) -> Score | None:
        """Return a score, and keep it longer."""
        with self._lock:
            entry = self._entries.get(key)
            return None if entry is None else entry[0]

    def put(self, key: CacheKey, score: Score, message_id: int | None, drops: int) -> None:
        """Keep a score; the one unused for longest goes where there is no room.

        ``drops`` is the number from before the message was read. Where it has grown since, nothing is kept: the
        message may be among those that were dropped.
        """
        with self._lock:
            if drops == self.drops:
                self._entries[key] = (score, message_id)

    def drop_messages(self, message_ids: Collection[int]) -> None:
        """Forget everything that was computed from these messages."""
        with self._lock:
            self.drops += 1
            for message_id in message_ids:
                for key in list(self._entries.of_message.get(message_id, ())):
                    del self._entries[key]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.drops += 1
            self._entries.clear()
