"""Forgetting: messages, channels, servers, people, and what has grown too old. When a call returns, it is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence

from cogs.memory.caches.memory_caches import MemoryCaches
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.ingest.worker import IngestWorker
from cogs.memory.models.loadout import Loadout
from cogs.memory.records import IncomingMessage, JsonObject, PersonSummary
from cogs.memory.storage.people import EVERYWHERE
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.traces import TraceEraser

BATCH = 2000
DAY_MS = 86_400_000


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Forgetting:
    """Takes messages out of rows, keywords, vectors, index, snapshot and caches.

    Args:
        repository: the rows, keywords and stored vectors.
        slot: the models in use, with their indexes and caches.
        caches: what is kept beside the database.
        ingest: told of answers whose vectors saw a text that is gone.
        eraser: overwrites the bytes that deleted rows leave in the files.
        grace_days: how long a server is kept after the bot left it.
    """

    def __init__(
        self,
        repository: Repository,
        slot: ModelSlot[Loadout],
        caches: MemoryCaches,
        ingest: IngestWorker,
        eraser: TraceEraser,
        grace_days: int,
    ) -> None:
        self._repository = repository
        self._slot = slot
        self._caches = caches
        self._ingest = ingest
        self._eraser = eraser
        self._grace_days = grace_days

    async def forget_messages(self, guild_id: int, message_ids: Sequence[int]) -> int:
        """Delete messages; they cannot come back. Returns how many were stored.

        An id that was never stored is barred as well: its creation may be on its way.
        """
        return await asyncio.to_thread(self._forget, guild_id, list(message_ids))

    def _forget(self, guild_id: int, message_ids: Collection[int]) -> int:
        ids, count = list(message_ids), 0
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            gone = self._repository.messages.delete(guild_id, part, lambda ids: self._drop_vectors(guild_id, ids))
            count += len(gone)
            self._forget_cached(part)
        if ids:
            self._caches.channel_reach.clear()
            self._eraser.soon()
            self._ingest.notify()
        return count

    def forget_changed(self, messages: Sequence[IncomingMessage], changed: Collection[int]) -> None:
        """Let go of the old text of edited messages; called before anybody else may write."""
        if not changed:
            return
        self._forget_cached(changed)
        guild_of = {message.id: message.guild_id for message in messages}
        for guild_id in {guild_of[i] for i in changed}:
            self._drop_vectors(guild_id, [i for i in changed if guild_of[i] == guild_id])
        self._eraser.soon()

    def _forget_cached(self, message_ids: Collection[int]) -> None:
        """Drop what was computed or fetched for messages and is kept outside the database."""
        if message_ids:
            self._caches.author_names.clear()
            with self._slot.acquire() as loadout:
                loadout.forget(message_ids)

    def _drop_vectors(self, guild_id: int, message_ids: list[int]) -> None:
        with self._slot.acquire() as loadout:
            loadout.indexes.remove(guild_id, message_ids)

    async def forget_channel(self, guild_id: int, channel_id: int, *, keep_record: bool = False) -> int:
        """Delete a channel or thread with everything said in it and in its threads."""

        def work() -> int:
            count = self._forget(guild_id, self._repository.messages.ids_where(guild_id, channel_ids=[channel_id]))
            if not keep_record:
                with self._repository.write_lock:
                    self._repository.guilds.drop_channels(guild_id, [channel_id])
                    self._caches.channels_changed(guild_id)
            self._eraser.now()
            return count

        return await asyncio.to_thread(work)

    async def forget_guild(self, guild_id: int) -> int:
        """Delete a server with everything in it."""

        def work() -> int:
            count = self._forget(guild_id, self._repository.messages.ids_where(guild_id))
            with self._slot.acquire() as loadout:
                loadout.indexes.drop_guild(guild_id)
            with self._repository.write_lock:
                self._repository.guilds.drop(guild_id)
                self._caches.channels_changed(guild_id)
            self._caches.channel_reach.clear()
            self._eraser.now()
            return count

        return await asyncio.to_thread(work)

    async def guild_left(self, guild_id: int, application_id: int) -> None:
        """Note that a bot left a server; it is forgotten when the grace period has passed, if it was that bot's."""
        owned = await asyncio.to_thread(self._repository.guilds.mark_left, guild_id, application_id, now_ms())
        if owned and self._grace_days == 0:
            await self.forget_guild(guild_id)

    async def set_retention(self, guild_id: int, days: int | None) -> int:
        """Keep messages of a server for ``days`` only, or for good; returns how many went at once."""
        await asyncio.to_thread(self._repository.guilds.set_retention, guild_id, days)
        return await self.expire(guild_id, days, now_ms()) if days is not None else 0

    async def expire(self, guild_id: int, days: int, at_ms: int) -> int:
        """Delete messages of a server that were older than ``days`` at a time, in milliseconds since 1970."""
        cutoff = at_ms - days * DAY_MS

        def work() -> int:
            return self._forget(guild_id, self._repository.messages.ids_where(guild_id, before_ms=cutoff))

        return await asyncio.to_thread(work)

    async def forget_what_is_due(self, at_ms: int) -> None:
        """Delete what was too old, and servers left too long ago, at a time in milliseconds since 1970."""
        for guild_id, days, left_ms in await asyncio.to_thread(self._repository.guilds.rules):
            if left_ms is not None and left_ms <= at_ms - self._grace_days * DAY_MS:
                await self.forget_guild(guild_id)
            elif days is not None:
                await self.expire(guild_id, days, at_ms)

    # -- people --------------------------------------------------------------------------------------------

    async def opt_out(self, user_id: int, guild_id: int | None) -> int:
        """Stop remembering a person, here or everywhere, and erase the past; returns how many messages went."""
        # The record comes first: what arrives between the two steps is dropped instead of kept.
        place = EVERYWHERE if guild_id is None else guild_id
        await asyncio.to_thread(self._repository.people.opt_out, user_id, place)
        await asyncio.to_thread(self._repository.silence.begin, user_id, guild_id)
        return await self.forget_person(user_id, guild_id)

    async def opt_in(self, user_id: int, guild_id: int | None) -> None:
        """Take an opt-out back; what was erased stays erased."""
        place = EVERYWHERE if guild_id is None else guild_id
        await asyncio.to_thread(self._repository.people.opt_in, user_id, place)
        await asyncio.to_thread(self._repository.silence.lift, user_id, place)

    async def is_opted_out(self, user_id: int, guild_id: int | None) -> bool:
        """Return whether a person said stop, there or everywhere."""
        return await asyncio.to_thread(
            self._repository.people.is_opted_out, user_id, EVERYWHERE if guild_id is None else guild_id
        )

    async def forget_person(self, user_id: int, guild_id: int | None) -> int:
        """Erase what a person wrote, here or everywhere, what forwards it, and their id and names elsewhere."""

        def work() -> int:
            # The mark comes first: what a backfill or an import brings between the two steps is dropped.
            everywhere = EVERYWHERE if guild_id is None else guild_id
            self._repository.people.mark_forgotten(user_id, everywhere, now_ms())
            guilds = self._repository.people.author_guilds(user_id) if guild_id is None else [guild_id]
            names, count = self._repository.silence.names_of(user_id, guild_id), 0
            for guild in guilds:
                ids = self._repository.messages.ids_where(guild, author_id=user_id)
                forwards = self._repository.messages.forwards_of(ids, guild_id)
                count += self._forget(guild, ids)
                for place, passed_on in forwards.items():
                    self._forget(place, passed_on)
            changed = self._repository.silence.drop(user_id, guild_id, names)
            self._forget_cached(changed)
            self._repository.judgements.forget_person(user_id, guild_id)
            with self._slot.acquire() as loadout:
                loadout.indexes.save()
            self._eraser.now()
            self._ingest.notify()
            return count

        return await asyncio.to_thread(work)

    def finish(self) -> None:
        """Erase what was to be forgotten of people when the process ended in the middle; not on the event loop."""
        people, messages = self._repository.people, self._repository.messages
        for (user_id, guild_id), before_ms in people.forgotten_authors().items():
            self._forget(guild_id, messages.ids_where(guild_id, author_id=user_id, before_ms=before_ms))
        for user_id, guild_id in people.opted_out_authors():
            self._forget(guild_id, messages.ids_where(guild_id, author_id=user_id))

    async def export_person(self, user_id: int, guild_id: int | None) -> JsonObject:
        """Return everything stored that a person wrote."""

        def work() -> JsonObject:
            judged = self._repository.judgements.by_person(user_id, guild_id)
            return {**self._repository.people.export(user_id, guild_id), "judged": judged}

        return await asyncio.to_thread(work)

    async def stored_about(self, user_id: int, guild_id: int | None) -> PersonSummary:
        """Return how much of a person is stored."""
        return await asyncio.to_thread(self._repository.people.summary, user_id, guild_id)
