"""Who wrote where, as a question may name them: kept for a moment, because counting reads a channel's every row."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from cachetools import TTLCache

FRESH_SECONDS: Final = 30.0
"""A person who has just spoken for the first time is known by name after so long at most."""
CHANNELS_KEPT: Final = 5000

Names = Mapping[str, int]


class AuthorNames:
    """The names under which people wrote in each channel, with the number of their messages.

    A name only tells which words of a question mean a person; nobody is shown one from here. Safe on any thread.

    Args:
        count: the names of each channel's authors, with their messages, as the database has them now.
    """

    def __init__(
        self, count: Callable[[set[int]], Mapping[int, Names]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._known: TTLCache[int, Names] = TTLCache(CHANNELS_KEPT, FRESH_SECONDS, clock)

    def of(self, channel_ids: Iterable[int], limit: int) -> list[str]:
        """Return the names of people who wrote in these channels, the most active first."""
        totals = self._totals(channel_ids)
        return sorted(totals, key=lambda name: (-totals[name], name))[:limit]

    def share(self, channel_ids: Iterable[int], names: Iterable[str]) -> float:
        """Return which share of the messages in these channels was written under these names."""
        totals = self._totals(channel_ids)
        return sum(totals[name] for name in names) / max(1, totals.total())

    def _totals(self, channel_ids: Iterable[int]) -> Counter[str]:
        with self._lock:  # of many questions at once, one counts
            wanted = set(channel_ids)
            known = {i: names for i in wanted if (names := self._known.get(i)) is not None}
            if missing := wanted - known.keys():
                counted = self._count(missing)
                fresh = {channel: counted.get(channel, {}) for channel in missing}
                self._known.update(fresh)
                known |= fresh
        totals: Counter[str] = Counter()
        for names in known.values():
            totals.update(names)
        return totals

    def clear(self) -> None:
        """Forget all names: somebody may just have been forgotten."""
        with self._lock:
            self._known.clear()
