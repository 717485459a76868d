"""Discord only: reading a server's past, from the newest message back; it can be stopped and goes on where it was."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import discord

from cogs.gateway.catch_up import PAGE, CatchUp, Readable, bot_can_read, page_before, readable_channels
from cogs.gateway.intake import Intake
from cogs.gateway.translate import channel_info

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

log = logging.getLogger(__name__)
NEWEST = 1 << 62
"""A position above every message: the channel is still to be read. A stopped position is stored as its negative."""


@dataclass
class Backfill:
    """One run over the channels of a server, and how far it is."""

    guild: discord.Guild
    channels: list[Readable]
    until: int
    forums: list[discord.ForumChannel] = field(default_factory=list)
    read: int = 0
    new: int = 0
    finished: int = 0
    refused: list[str] = field(default_factory=list)
    stopped: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it still reads."""
        return self.task is not None and not self.task.done()

    def stop(self) -> None:
        """Stop after the page in hand; the position is kept."""
        self.stopped = True

    async def wait(self, seconds: float) -> None:
        """Wait until it is done, but no longer than ``seconds``."""
        if self.task is not None:
            await asyncio.wait({self.task}, timeout=seconds)

    def sentence(self) -> str:
        """Return how far it is, for people."""
        where = (
            f"{self.read:,} messages read, {self.new:,} of them new, {self.finished} of {len(self.channels)} channels"
        )
        refused = f" Discord refused {len(self.refused)} of them." if self.refused else ""
        if self.running:
            return f"Reading the past: {where} done.{refused}"
        if self.stopped:
            return f"Stopped: {where} done. The same command goes on from here.{refused}"
        if self.finished < len(self.channels):
            return f"Interrupted: {where} done. It goes on when the bot is started again.{refused}"
        return f"Done: {where}.{refused}"


class Backfills:
    """The runs of all servers, one for each at a time."""

    def __init__(self, service: MemoryService, intake: Intake, catch_up: CatchUp) -> None:
        self._service = service
        self._intake = intake
        self._catch_up = catch_up
        self._runs: dict[int, Backfill] = {}

    def of(self, guild_id: int) -> Backfill | None:
        """Return the latest run of a server."""
        return self._runs.get(guild_id)

    async def start(self, guild: discord.Guild, channel_id: int | None, until: int) -> Backfill:
        """Begin to read a channel, or the whole server, back to the id ``until``, or return the run under way."""
        running = self._runs.get(guild.id)
        if running is not None and running.running:
            return running
        run = Backfill(guild, [], until)
        for channel in backfill_channels(guild, channel_id):
            await self._add(run, channel)
        run.forums = [forum for forum in guild.forums if channel_id in (None, forum.id)]
        return self._launch(run)

    async def go_on(self, guild: discord.Guild) -> None:
        """Go on with a run that a crash or a restart has cut off; one that somebody stopped stays stopped."""
        running = self._runs.get(guild.id)
        if running is not None and running.running:
            return
        run = Backfill(guild, [], 0)
        for info in await self._service.channels(guild.id):
            cursor, until = await self._service.backfill_cursor(info.id)
            if cursor is None or cursor < 0:
                continue
            channel = guild.get_channel_or_thread(info.id)
            if isinstance(channel, Readable) and bot_can_read(channel):
                run.channels.append(channel)
                run.until = max(run.until, until or 0)
        if run.channels:
            self._launch(run)

    async def stop(self) -> None:
        """Break off every run; the positions are stored."""
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _launch(self, run: Backfill) -> Backfill:
        self._runs[run.guild.id] = run
        run.task = asyncio.create_task(self._run(run), name=f"backfill {run.guild.id}")
        return run

    async def _add(self, run: Backfill, channel: Readable) -> None:
        """Note a channel as still to be read, in the database too, so that a crash forgets none."""
        if not await self._service.is_remembered(channel.guild.id, channel.id):
            return
        cursor, _ = await self._service.backfill_cursor(channel.id)
        await self._service.set_backfill_cursor(channel.id, abs(cursor) if cursor else NEWEST, run.until)
        run.channels.append(channel)

    async def _run(self, run: Backfill) -> None:
        for forum in run.forums:
            await self._add_archived(run, forum)
        for channel in run.channels:  # archived threads are appended on the way
            await self._add_archived(run, channel)
            try:
                await self._channel(run, channel)
            except discord.HTTPException as error:
                log.warning("channel %s could not be read back: HTTP %s", channel.id, error.status)
                run.refused.append(channel.name)
                await self._service.set_backfill_cursor(channel.id, None, None)
            if not run.stopped:
                run.finished += 1

    async def _add_archived(self, run: Backfill, channel: Readable | discord.ForumChannel) -> None:
        if run.stopped or not isinstance(channel, discord.TextChannel | discord.ForumChannel):
            return
        try:
            async for thread in channel.archived_threads(limit=None):
                info = channel_info(thread)
                if info is not None and thread not in run.channels:
                    await self._intake.note_channels([info])
                    await self._add(run, thread)
        except discord.HTTPException as error:
            log.warning("archived threads of channel %s could not be listed: HTTP %s", channel.id, error.status)

    async def _channel(self, run: Backfill, channel: Readable) -> None:
        cursor, _ = await self._service.backfill_cursor(channel.id)
        before = abs(cursor or NEWEST)
        while bot_can_read(channel):
            if run.stopped:
                await self._service.set_backfill_cursor(channel.id, -before, run.until)
                return
            page = await page_before(channel, None if before == NEWEST else before)
            wanted = [message for message in page if message.id > run.until]
            run.new += await self._catch_up.remember(wanted)
            oldest = wanted[-1].id if len(wanted) == PAGE else run.until + 1
            # Above the newest message of the first page, what is stored arrived after the page was made.
            newest = before - 1 if before != NEWEST else max((message.id for message in wanted), default=0)
            await self._catch_up.level(channel, wanted, oldest, newest)
            run.read += len(wanted)
            if len(wanted) < PAGE:
                break
            before = oldest
            await self._service.set_backfill_cursor(channel.id, before, run.until)
        await self._service.set_backfill_cursor(channel.id, None, None)


def backfill_channels(guild: discord.Guild, channel_id: int | None) -> list[Readable]:
    """Return what a run over a channel (and its active threads), or over the whole server, reads."""
    found = readable_channels(guild)
    if channel_id is None:
        return found
    return [c for c in found if c.id == channel_id or (isinstance(c, discord.Thread) and c.parent_id == channel_id)]
