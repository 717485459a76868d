"""How many messages hold a term, kept for a while where counting them takes long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa
from cachetools import TTLCache

from cogs.memory.storage.connection import MESSAGES

MANY: Final = 500
"""From so many messages on a count is kept: SQLite walks through them all, 30 µs for a thousand."""
SECONDS: Final = 600.0
"""How long a count is kept. An old one makes a search choose other words first, and never shows or hides anything."""
ENTRIES: Final = 10_000
Count = Callable[[sa.Connection, Sequence[str]], dict[str, int]]


def counted_by_sqlite(db: sa.Connection, terms: Sequence[str]) -> dict[str, int]:
    """Return in how many messages of the whole SQLite database terms stand."""
    query = sa.text("SELECT term, doc FROM temp.keyword_terms WHERE term IN (SELECT value FROM json_each(:t))")
    return {row[0]: int(row[1]) for row in db.execute(query, {"t": json.dumps(list(terms))}).fetchall()}


class TermCounts:
    """Counts by name, those of many kept for a while; safe from several threads.

    ``count`` looks the names up that are not kept and leaves out what stands nowhere.
    """

    def __init__(self, count: Count, clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._kept: TTLCache[str | None, int] = TTLCache(ENTRIES, SECONDS, clock)
        self._lock = threading.Lock()

    def of(self, db: sa.Connection, terms: Sequence[str]) -> dict[str, int]:
        """Return the count of each term; 0 for what stands nowhere."""
        with self._lock:
            kept = {term: self._kept.get(term) for term in terms}
        found = {term: count or 0 for term, count in kept.items()}
        missing = [term for term, count in kept.items() if count is None]
        if missing:
            counted = self._count(db, missing)
            with self._lock:
                self._kept.update({term: count for term, count in counted.items() if count >= MANY})
            found |= counted
        return found

    def total(self, db: sa.Connection) -> int:
        """Return how many messages there are."""
        with self._lock:
            total = self._kept.get(None)
        if total is None:
            total = int(db.scalar(sa.select(sa.func.count()).select_from(MESSAGES)) or 0)
            if total >= MANY:
                with self._lock:
                    self._kept[None] = total
        return total
