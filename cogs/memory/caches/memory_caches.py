"""What the parts of :class:`cogs.memory.service.MemoryService` share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from cogs.memory.caches.author_names import AuthorNames
from cogs.memory.caches.channel_reach import ChannelReach
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.ingest.worker import IngestWorker
from cogs.memory.models.loadout import Loadout
from cogs.memory.recall.latency import Latency
from cogs.memory.records import Reach, Scope
from cogs.memory.storage.repository import Repository
from config.settings import Settings

Inclusion = dict[int, tuple[int | None, bool | None]]


class ServiceBase:
    """The state of the service, and the caches that forgetting must reach."""

    def __init__(self, settings: Settings, repository: Repository) -> None:
        self.settings = settings
        self.repository = repository
        self.latency = Latency()
        self.last_recall_error: str | None = None
        self.tokens_saved = 0
        self._asking = 0
        self.slot: ModelSlot[Loadout]
        self.ingest: IngestWorker
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel_reach = ChannelReach(repository.channel_reach)
        self._inclusion: dict[int, Inclusion] = {}
        self._traces = asyncio.Event()
        self._author_names = AuthorNames(repository.author_names)

    def _loop_call(self, callback: Callable[[], None]) -> None:
        """Call something of the event loop from a worker thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

    def _forget_cached(self, message_ids: Collection[int]) -> None:
        """Drop what was computed or fetched for messages and is kept outside the database."""
        if message_ids:
            self._author_names.clear()
            with self.slot.acquire() as loadout:
                loadout.cache.drop_messages(message_ids)
                if loadout.images is not None:
                    loadout.images.forget(message_ids)

    def _included(self, guild_id: int, channel_id: int) -> bool:
        """Return whether a channel is remembered: its own word, its parent's, or the setting."""
        known = self._inclusion.get(guild_id)
        if known is None or channel_id not in known:
            # What changes it holds the same lock: nothing from before a change is kept after it.
            with self.repository.write_lock:
                known = self._inclusion[guild_id] = self.repository.inclusion(guild_id)
        parent, included = known.get(channel_id, (None, None))
        if included is None and parent is not None:
            included = known.get(parent, (None, None))[1]
        return self.settings.remember == "all" if included is None else included

    def _reach_of(self, scope: Scope) -> Reach:
        raise NotImplementedError
