"""The titles of threads and forum posts, as terms: read once for each server, until one changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from cogs.memory.records import ChannelInfo
from cogs.memory.text.terms import terms

Titles = Mapping[int, tuple[str, ...]]


class ThreadTitles:
    """The terms of each thread's title, by the thread's id. Safe on any thread.

    Args:
        channels: the channels of a server as the database has them now.
    """

    def __init__(self, channels: Callable[[int], Sequence[ChannelInfo]]) -> None:
        self._channels = channels
        self._lock = threading.Lock()
        self._known: dict[int, Titles] = {}
        self._changes = 0

    def of(self, guild_id: int) -> Titles:
        """Return the titles of a server's threads."""
        with self._lock:
            known, before = self._known.get(guild_id), self._changes
        if known is not None:
            return known
        titles = {c.id: tuple(terms(c.name)) for c in self._channels(guild_id) if c.kind == "thread"}
        with self._lock:
            if before == self._changes:  # a title that changed meanwhile is read again by the next question
                self._known[guild_id] = titles
        return titles

    def changed(self, guild_id: int) -> None:
        """Say that threads of a server were renamed, made or forgotten; after the commit."""
        with self._lock:
            self._known.pop(guild_id, None)
            self._changes += 1
