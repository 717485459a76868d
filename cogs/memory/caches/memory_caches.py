"""The caches beside the database that the parts of the memory share, and that a deletion must reach."""

from __future__ import annotations

from cogs.memory.caches.author_names import AuthorNames
from cogs.memory.caches.channel_inclusion import ChannelInclusion
from cogs.memory.caches.channel_reach import ChannelReach
from cogs.memory.caches.thread_titles import ThreadTitles
from cogs.memory.records import Reach, Scope
from cogs.memory.storage.connection import from_ms
from cogs.memory.storage.repository import Repository


class MemoryCaches:
    """What is asked of the database so often that its answer is kept.

    Args:
        remember_all: whether channels are remembered of which nobody said anything.
    """

    def __init__(self, repository: Repository, *, remember_all: bool) -> None:
        self.channel_reach = ChannelReach(repository.search.channel_reach)
        self.author_names = AuthorNames(repository.search.author_names)
        self.thread_titles = ThreadTitles(repository.guilds.channels)
        self.inclusion = ChannelInclusion(repository, remember_all=remember_all)

    def channels_changed(self, guild_id: int) -> None:
        """Say that channels of a server were made, moved, renamed or forgotten, after the commit and under its lock."""
        self.inclusion.changed(guild_id)
        self.thread_titles.changed(guild_id)

    def reach_of(self, scope: Scope) -> Reach:
        """Return how far the memory reaches within a scope."""
        parts = self.channel_reach.of(scope.channel_ids)
        since = min((first for _, first in parts), default=None)
        return Reach(sum(count for count, _ in parts), len(parts), None if since is None else from_ms(since))
