"""Discord only: the bot's earlier replies are changed when what they quote is deleted, changed or opted out."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import discord

from cogs.chat.rendering import TAKEN_BACK, without_quotations
from cogs.memory.errors import StorageError

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService
    from cogs.memory.storage.quotations import WithdrawnReply

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0
ARCHIVED = 50083


class Withdrawals:
    """Looks every second whether a reply has to be changed; what Discord refuses is tried again, ever more rarely.

    ``growing`` holds the ids of replies that are still being written: whoever writes them looks for themselves.
    """

    def __init__(self, bot: discord.Client, service: MemoryService) -> None:
        self._bot = bot
        self._service = service
        self.growing: set[int] = set()
        self._later: dict[int, tuple[float, float]] = {}

    async def run(self) -> None:
        """Go on for ever."""
        await self._bot.wait_until_ready()
        while True:
            try:
                await self.look()
            except StorageError as error:
                log.warning("earlier replies could not be looked through: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Change every reply that has to be changed now."""
        waiting = await self._service.quotations.withdrawn()
        self._later = {reply.id: self._later[reply.id] for reply in waiting if reply.id in self._later}
        for reply in waiting:
            due, pause = self._later.get(reply.id, (0.0, FIRST_PAUSE))
            if reply.id in self.growing or time.monotonic() < due:
                continue
            try:
                gone = await self._take_back(reply)
            except discord.HTTPException as error:
                log.warning("an earlier reply could not be changed: HTTP %s code %s", error.status, error.code)
                self._later[reply.id] = (time.monotonic() + pause, min(pause * 2, LONGEST_PAUSE))
            else:
                await self._service.quotations.changed(reply, gone=gone)

    async def _take_back(self, reply: WithdrawnReply) -> bool:
        """Change one reply; return whether nothing is left of it."""
        channel = self._bot.get_partial_messageable(reply.channel_id)
        try:
            shown = await channel.fetch_message(reply.id)
            text = TAKEN_BACK if reply.written else without_quotations(shown.content, reply.message_ids)
            try:
                await shown.edit(content=text, suppress=True)
            except discord.HTTPException as error:
                if error.code != ARCHIVED:
                    raise
                thread = await self._bot.fetch_channel(reply.channel_id)
                if not isinstance(thread, discord.Thread):
                    raise
                await thread.edit(archived=False)
                await shown.edit(content=text, suppress=True)
                await thread.edit(archived=True)
        except discord.NotFound:
            return True
        return text == TAKEN_BACK
