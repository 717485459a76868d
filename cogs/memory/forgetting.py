"""Forgetting: messages, channels, servers, people, and what has grown too old. When a call returns, it is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence

from cogs.memory.caches.memory_caches import ServiceBase
from cogs.memory.errors import StorageError
from cogs.memory.housekeeping import ERASE_SECONDS, HOUSEKEEPING_SECONDS, RETRY_SECONDS, ClockWatch, _now_ms
from cogs.memory.records import IncomingMessage, JsonObject, PersonSummary
from cogs.memory.storage.people import EVERYWHERE

log = logging.getLogger(__name__)
BATCH = 2000
DAY_MS = 86_400_000


class ForgettingMixin(ServiceBase):
    """The part of the service that lets go."""

    async def forget_messages(self, guild_id: int, message_ids: Sequence[int]) -> int:
        """Delete messages from rows, keywords, vectors, index, snapshot and caches; they cannot come back.

        Returns how many were stored. An id that was never stored is barred as well: its creation may be on its way.
        """
        return await asyncio.to_thread(self._forget, guild_id, list(message_ids))

    def _forget(self, guild_id: int, message_ids: Collection[int]) -> int:
        ids, count = list(message_ids), 0
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            count += len(self.repository.delete(guild_id, part, lambda gone: self._drop_vectors(guild_id, gone)))
            self._forget_cached(part)
        if ids:
            self._channel_reach.clear()
            self._erase_soon()
            self._loop_call(self.ingest.notify)
        return count

    def _erase_now(self) -> None:
        if not self.repository.erase_traces():
            self._erase_soon()

    def _forget_changed(self, messages: Sequence[IncomingMessage], changed: Collection[int]) -> None:
        """Let go of the old text of edited messages; called before anybody else may write."""
        if not changed:
            return
        self._forget_cached(changed)
        guild_of = {message.id: message.guild_id for message in messages}
        for guild_id in {guild_of[i] for i in changed}:
            self._drop_vectors(guild_id, [i for i in changed if guild_of[i] == guild_id])
        self._erase_soon()

    def _erase_soon(self) -> None:
        """Erase the traces of what was deleted or replaced, once for all that goes within :data:`ERASE_SECONDS`."""
        self._loop_call(self._traces.set)

    async def _erase(self) -> None:
        pause = ERASE_SECONDS
        while True:
            await self._traces.wait()
            await asyncio.sleep(pause)
            self._traces.clear()
            started = time.monotonic()
            try:
                gone = await asyncio.to_thread(self.repository.erase_traces)
            except StorageError as error:
                log.warning("the traces of replaced text could not be erased yet: %s", error)
                gone = False
            if not gone:
                self._traces.set()
            # Nobody writes meanwhile, so it may take a tenth of the time, however large the file is.
            pause = max(ERASE_SECONDS, 9 * (time.monotonic() - started))

    def _drop_vectors(self, guild_id: int, message_ids: list[int]) -> None:
        with self.slot.acquire() as loadout:
            loadout.indexes.remove(guild_id, message_ids)

    async def forget_channel(self, guild_id: int, channel_id: int, *, keep_record: bool = False) -> int:
        """Delete a channel or thread with everything said in it and in its threads."""

        def work() -> int:
            count = self._forget(guild_id, self.repository.message_ids_where(guild_id, channel_ids=[channel_id]))
            if not keep_record:
                with self.repository.write_lock:
                    self.repository.drop_channels(guild_id, [channel_id])
                    self._inclusion.pop(guild_id, None)
            self._erase_now()
            return count

        return await asyncio.to_thread(work)

    async def forget_guild(self, guild_id: int) -> int:
        """Delete a server with everything in it."""

        def work() -> int:
            count = self._forget(guild_id, self.repository.message_ids_where(guild_id))
            with self.slot.acquire() as loadout:
                loadout.indexes.drop_guild(guild_id)
            with self.repository.write_lock:
                self.repository.drop_guild(guild_id)
                self._inclusion.pop(guild_id, None)
            self._channel_reach.clear()
            self._erase_now()
            return count

        return await asyncio.to_thread(work)

    async def guild_left(self, guild_id: int) -> None:
        """Note that the bot left a server; it is forgotten when the grace period has passed."""
        await asyncio.to_thread(self.repository.mark_left, guild_id, _now_ms())
        if self.settings.guild_grace_days == 0:
            await self.forget_guild(guild_id)

    async def set_retention(self, guild_id: int, days: int | None) -> int:
        """Keep messages of a server for ``days`` only, or for good; returns how many went at once."""
        await asyncio.to_thread(self.repository.set_retention, guild_id, days)
        return await asyncio.to_thread(self._expire, guild_id, days, _now_ms()) if days is not None else 0

    def _expire(self, guild_id: int, days: int, now_ms: int) -> int:
        cutoff = now_ms - days * DAY_MS
        return self._forget(guild_id, self.repository.message_ids_where(guild_id, before_ms=cutoff))

    async def _keep_house(self) -> None:
        """Open every server's index, so that nobody's first question waits for it; then let go of what is too old
        and of servers that were left, now and then, and of the traces of replaced text at once."""
        await asyncio.gather(self._erase(), self._expire_now_and_then())

    async def _expire_now_and_then(self) -> None:
        clock = ClockWatch()
        while True:
            try:
                await asyncio.to_thread(self._open_indexes)
                await self._expire_what_is_due(clock)
            except StorageError as error:
                log.warning("what is too old could not be forgotten yet: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _expire_what_is_due(self, clock: ClockWatch) -> None:
        now = clock.steady_ms()
        if now is None:
            log.warning("the clock of this machine jumped; nothing is forgotten for its age until it runs steadily")
            return
        for guild_id, days, left_ms in await asyncio.to_thread(self.repository.guild_rules):
            if left_ms is not None and left_ms <= now - self.settings.guild_grace_days * DAY_MS:
                await self.forget_guild(guild_id)
            elif days is not None:
                await asyncio.to_thread(self._expire, guild_id, days, now)

    def _open_indexes(self) -> None:
        for guild_id in self.repository.guild_ids():
            with self.slot.acquire() as loadout:
                loadout.indexes.store(guild_id)

    # -- people --------------------------------------------------------------------------------------------

    async def opt_out(self, user_id: int, guild_id: int | None) -> int:
        """Stop remembering a person, here or everywhere, and erase the past; returns how many messages went."""
        # The record comes first: what arrives between the two steps is dropped instead of kept.
        await asyncio.to_thread(self.repository.opt_out, user_id, EVERYWHERE if guild_id is None else guild_id)
        return await self.forget_person(user_id, guild_id)

    async def opt_in(self, user_id: int, guild_id: int | None) -> None:
        """Take an opt-out back; what was erased stays erased."""
        await asyncio.to_thread(self.repository.opt_in, user_id, EVERYWHERE if guild_id is None else guild_id)

    async def is_opted_out(self, user_id: int, guild_id: int | None) -> bool:
        """Return whether a person said stop, there or everywhere."""
        return await asyncio.to_thread(
            self.repository.is_opted_out, user_id, EVERYWHERE if guild_id is None else guild_id
        )

    async def forget_person(self, user_id: int, guild_id: int | None) -> int:
        """Erase everything a person wrote, here or everywhere, and their id from what others wrote."""

        def work() -> int:
            guilds = self.repository.author_guilds(user_id) if guild_id is None else [guild_id]
            count = sum(
                self._forget(guild, self.repository.message_ids_where(guild, author_id=user_id)) for guild in guilds
            )
            changed = self.repository.drop_mentions(user_id, guild_id)
            self._forget_cached(changed)
            with self.slot.acquire() as loadout:
                loadout.indexes.save()
            self._erase_now()
            self._loop_call(self.ingest.notify)
            return count

        return await asyncio.to_thread(work)

    async def export_person(self, user_id: int, guild_id: int | None) -> JsonObject:
        """Return everything stored that a person wrote."""
        return await asyncio.to_thread(self.repository.export_person, user_id, guild_id)

    async def stored_about(self, user_id: int, guild_id: int | None) -> PersonSummary:
        """Return how much of a person is stored."""
        return await asyncio.to_thread(self.repository.person_summary, user_id, guild_id)
