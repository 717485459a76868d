"""Which channels are remembered: an administrator's word on each, kept until it changes."""

from __future__ import annotations

from cogs.memory.storage.repository import Repository

Words = dict[int, tuple[int | None, bool | None]]
"""By channel: its parent, and whether it is included, or None where nobody said so."""


class ChannelInclusion:
    """Answers whether a channel is remembered. Safe on any thread, never on the event loop.

    Args:
        remember_all: what holds for a channel of which, and of whose parent, nobody said anything.
    """

    def __init__(self, repository: Repository, *, remember_all: bool) -> None:
        self._repository = repository
        self._remember_all = remember_all
        self._known: dict[int, Words] = {}

    def included(self, guild_id: int, channel_id: int) -> bool:
        """Return whether a channel is remembered: its own word, its parent's, or the setting."""
        known = self._known.get(guild_id)
        if known is None or channel_id not in known:
            # What changes it holds the same lock: nothing from before a change is kept after it.
            with self._repository.write_lock:
                known = self._known[guild_id] = self._repository.guilds.inclusion(guild_id)
        parent, included = known.get(channel_id, (None, None))
        if included is None and parent is not None:
            included = known.get(parent, (None, None))[1]
        return self._remember_all if included is None else included

    def changed(self, guild_id: int) -> None:
        """Say that channels of a server changed; while the repository's write lock is held."""
        self._known.pop(guild_id, None)
