"""What the bot's replies quote, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from cogs.memory.storage.quotations import QuotationStore, WithdrawnReply


class Quotations:
    """Remembers which messages a reply quotes, and tells which replies have to be changed."""

    def __init__(self, store: QuotationStore) -> None:
        self._store = store

    async def keep(self, reply_id: int, channel_id: int, message_ids: Collection[int], *, written: bool) -> None:
        """Record what a reply rests on now; ``written`` where a language model wrote it."""
        await asyncio.to_thread(self._store.keep, reply_id, channel_id, message_ids, written=written)

    async def withdrawn(self) -> list[WithdrawnReply]:
        """Return the replies that quote what is deleted, changed or of a person who said stop."""
        return await asyncio.to_thread(self._store.withdrawn)

    async def changed(self, reply: WithdrawnReply, *, gone: bool) -> None:
        """Note that a reply no longer shows what was withdrawn; ``gone`` where it shows nothing at all now."""
        await asyncio.to_thread(self._store.changed, reply, gone=gone)

    async def standing(self, reply_id: int) -> list[int] | None:
        """Return what a reply quotes, where all of it stands and was recorded."""
        return await asyncio.to_thread(self._store.standing, reply_id)
