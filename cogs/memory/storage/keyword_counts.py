"""How many messages hold a term, kept for a while where counting them takes long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from cogs.memory.storage.connection import MESSAGES

MANY: Final = 500
"""From so many messages on a count is kept: SQLite walks through them all, 30 µs for a thousand."""
SECONDS: Final = 600.0
"""How long a count is kept. An old one makes a search choose other words first, and never shows or hides anything."""
ENTRIES: Final = 10_000


class TermCounts:
    """In how many messages of the whole SQLite database terms stand; safe from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str | None, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def of(self, db: sa.Connection, terms: Sequence[str]) -> dict[str, int]:
        """Return the count of each term; 0 for what stands nowhere."""
        kept = {term: self._get(term) for term in terms}
        found = {term: count or 0 for term, count in kept.items()}
        missing = [term for term, count in kept.items() if count is None]
        if missing:
            query = sa.text("SELECT term, doc FROM temp.keyword_terms WHERE term IN (SELECT value FROM json_each(:t))")
            counted = {row[0]: int(row[1]) for row in db.execute(query, {"t": json.dumps(missing)}).fetchall()}
            self._keep({term: count for term, count in counted.items() if count >= MANY})
            found |= counted
        return found

    def total(self, db: sa.Connection) -> int:
        """Return how many messages there are."""
        total = self._get(None)
        if total is None:
            total = int(db.scalar(sa.select(sa.func.count()).select_from(MESSAGES)) or 0)
            if total >= MANY:
                self._keep({None: total})
        return total

    def _get(self, term: str | None) -> int | None:
        with self._lock:
            count, since = self._kept.get(term, (None, 0.0))
            return count if self._clock() - since < SECONDS else None

    def _keep(self, counts: dict[str, int] | dict[None, int]) -> None:
        now = self._clock()
        with self._lock:
            if len(self._kept) + len(counts) > ENTRIES:
                self._kept.clear()
            self._kept.update({term: (count, now) for term, count in counts.items()})
