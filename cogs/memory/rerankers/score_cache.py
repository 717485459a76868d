"""Scores that were computed before, dropped with their message."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection

from cogs.memory.rerankers.base import Score

CACHE_ENTRIES = 50_000
CacheKey = tuple[str, bytes, bytes]


class ScoreCache:
    """Scores that were computed before, bounded; an edit or a deletion drops what was computed from the message."""

    def __init__(self, entries: int = CACHE_ENTRIES) -> None:
        self._entries = entries
        self._scores: OrderedDict[CacheKey, Score] = OrderedDict()
        self._by_message: dict[int, set[CacheKey]] = {}
        self._message_of: dict[CacheKey, int] = {}
        self._lock = threading.Lock()
        self.drops = 0
        """How often something was dropped; see :meth:`put`."""

    def __len__(self) -> int:
        return len(self._scores)

    def get(self, key: CacheKey) -> Score | None:
        """Return a score, and keep it longer."""
        with self._lock:
            score = self._scores.get(key)
            if score is not None:
                self._scores.move_to_end(key)
            return score

    def put(self, key: CacheKey, score: Score, message_id: int | None, drops: int) -> None:
        """Keep a score; the oldest goes where there is no room.

        ``drops`` is the number from before the message was read. Where it has grown since, nothing is kept: the
        message may be among those that were dropped.
        """
        with self._lock:
            if drops != self.drops:
                return
            self._scores[key] = score
            self._scores.move_to_end(key)
            if message_id is not None:
                self._message_of[key] = message_id
                self._by_message.setdefault(message_id, set()).add(key)
            while len(self._scores) > self._entries:
                self._drop(next(iter(self._scores)))

    def drop_messages(self, message_ids: Collection[int]) -> None:
        """Forget everything that was computed from these messages."""
        with self._lock:
            self.drops += 1
            for message_id in message_ids:
                for key in list(self._by_message.get(message_id, ())):
                    self._drop(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.drops += 1
            self._scores.clear()
            self._by_message.clear()
            self._message_of.clear()

    def _drop(self, key: CacheKey) -> None:
        self._scores.pop(key, None)
        message_id = self._message_of.pop(key, None)
        if message_id is not None:
            keys = self._by_message[message_id]
            keys.discard(key)
            if not keys:
                del self._by_message[message_id]
