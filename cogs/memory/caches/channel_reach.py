"""How far the memory reaches in each channel: counted once, until the channel changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping

Part = tuple[int, int]
"""The number of messages and the time of the first, in milliseconds since 1970."""


class ChannelReach:
    """The number of messages of each channel and the time of the first. Safe on any thread.

    A change that comes while the database is counting wins: what was counted is told once and not kept, or a deleted
    message would go on being counted until the next one.

    Args:
        count: what the database holds of channels now; a channel without messages is missing.
    """

    def __init__(self, count: Callable[[Collection[int]], Mapping[int, Part]]) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._known: dict[int, Part | None] = {}
        self._changes: dict[int, int] = {}
        self._clears = 0

    def of(self, channel_ids: Iterable[int]) -> list[Part]:
        """Return the part of every channel that holds messages."""
        wanted = list(channel_ids)
        with self._lock:
            parts = {channel: self._known[channel] for channel in wanted if channel in self._known}
            before = {channel: self._state_of(channel) for channel in wanted if channel not in parts}
        if before:
            counted = self._count(list(before))
            parts |= {channel: counted.get(channel) for channel in before}
            with self._lock:
                self._known.update((c, parts[c]) for c, state in before.items() if state == self._state_of(c))
        return [part for channel in wanted if (part := parts[channel]) is not None]

    def changed(self, channel_ids: Iterable[int]) -> None:
        """Say that something was written to or deleted from channels; after the commit."""
        with self._lock:
            for channel in channel_ids:
                self._known.pop(channel, None)
                self._changes[channel] = self._changes.get(channel, 0) + 1

    def clear(self) -> None:
        """Say that any channel may have changed; after the commit."""
        with self._lock:
            self._known.clear()
            self._clears += 1

    def _state_of(self, channel: int) -> tuple[int, int]:
        return self._clears, self._changes.get(channel, 0)
