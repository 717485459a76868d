"""Who wrote where, as a question may name them: kept for a moment, because counting reads a channel's every row."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

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
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[int, tuple[float, Names]] = {}

    def of(self, channel_ids: Iterable[int], limit: int) -> list[str]:
        """Return the names of people who wrote in these channels, the most active first."""
        with self._lock:  # of many questions at once, one counts
            now = self._clock()
            wanted = set(channel_ids)
            stale = {i for i in wanted if i not in self._known or now - self._known[i][0] > FRESH_SECONDS}
            if stale:
                if len(self._known) > CHANNELS_KEPT:
                    self._known.clear()
                found = self._count(stale)
                self._known.update((channel, (now, found.get(channel, {}))) for channel in stale)
            known = [self._known[i][1] for i in wanted if i in self._known]
        totals: Counter[str] = Counter()
        for names in known:
            totals.update(names)
        return sorted(totals, key=lambda name: (-totals[name], name))[:limit]

    def clear(self) -> None:
        """Forget all names: somebody may just have been forgotten."""
        with self._lock:
            self._known.clear()
