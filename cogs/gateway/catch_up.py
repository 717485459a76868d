"""Discord only: the history of channels, read page by page at the pace that Discord allows."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import discord

from cogs.gateway.intake import Intake
from cogs.gateway.translate import channel_info, channel_infos, incoming

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

log = logging.getLogger(__name__)
PAGE = 100
COMPARED_PAGES = 10
CHANNELS_AT_ONCE = 4
ARCHIVED_LOOKED_AT = 50

Readable = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.Thread


def bot_can_read(channel: Readable) -> bool:
    """Return whether the bot itself may read a channel's history; without it Discord answers with empty pages."""
    parent = channel.parent if isinstance(channel, discord.Thread) else channel
    if parent is None:
        return False
    granted = channel.permissions_for(channel.guild.me)
    connected = not isinstance(parent, discord.VoiceChannel | discord.StageChannel) or granted.connect
    return granted.view_channel and granted.read_message_history and connected


def readable_channels(guild: discord.Guild) -> list[Readable]:
    """Return the channels and active threads of a guild whose history the bot may read."""
    return [c for c in (*guild.channels, *guild.threads) if isinstance(c, Readable) and bot_can_read(c)]


async def page_after(channel: Readable, message_id: int) -> list[discord.Message]:
    """Return up to :data:`PAGE` messages that follow one, oldest first."""
    after = discord.Object(message_id)
    return [message async for message in channel.history(limit=PAGE, after=after, oldest_first=True)]


async def page_before(channel: Readable, message_id: int | None) -> list[discord.Message]:
    """Return up to :data:`PAGE` messages that precede one (or the newest), newest first."""
    before = None if message_id is None else discord.Object(message_id)
    return [message async for message in channel.history(limit=PAGE, before=before, oldest_first=False)]


def _joined(guild: discord.Guild) -> int:
    """Return the id that a message at the time of the bot's invitation would have."""
    return discord.utils.time_snowflake(guild.me.joined_at or discord.utils.utcnow())


class CatchUp:
    """Fetches what was said, edited and deleted while the bot was away.

    ``live`` tells for which channels nothing is missing: only there does a new message move the watermark, so that a
    crash half-way through leaves the watermark before the gap.
    """

    def __init__(self, bot: discord.Client, service: MemoryService, intake: Intake) -> None:
        self._bot = bot
        self._service = service
        self._intake = intake
        self._slots = asyncio.Semaphore(CHANNELS_AT_ONCE)
        self._live: dict[int, set[int]] = {}
        self._interruptions: Counter[int] = Counter()

    def is_live(self, guild_id: int, channel_id: int) -> bool:
        """Return whether everything before the next message of a channel has been fetched."""
        return channel_id in self._live.get(guild_id, ())

    def set_live(self, guild_id: int, channel_id: int) -> None:
        """Note that nothing of a channel is missing."""
        self._live.setdefault(guild_id, set()).add(channel_id)

    async def begin_now(self, guild_id: int, channel_id: int) -> None:
        """Let the memory of a channel and its threads begin at this moment: what was said before is left alone."""
        guild = self._bot.get_guild(guild_id)
        for channel in [] if guild is None else readable_channels(guild):
            parent_id = channel.parent_id if isinstance(channel, discord.Thread) else None
            if channel_id in (channel.id, parent_id):
                await self._service.mark_seen(channel.id, channel.last_message_id or 0)
                self.set_live(guild_id, channel.id)

    def interrupted(self, guild_ids: Iterable[int]) -> None:
        """Note that events of these guilds may have been missed."""
        for guild_id in guild_ids:
            self._live.pop(guild_id, None)
            self._interruptions[guild_id] += 1

    async def guild(self, guild: discord.Guild) -> None:
        """Bring a guild level with Discord: records, new messages, then deletions and edits of recent ones."""
        await self._service.upsert_guild(guild.id, guild.name, guild.me.id)
        await self._intake.note_channels(channel_infos(guild))
        seen = await self._service.last_seen(guild.id)
        channels = readable_channels(guild)
        # What is new comes before what has changed: people ask for the first more often.
        await asyncio.gather(*(self._guarded(self._forward, c, self.start(guild, seen, c)) for c in channels))
        await asyncio.gather(*(self._guarded(self.compare, c, seen.get(c.id, 0)) for c in channels))
        await self._archived(guild, seen)
        await self._vanished(guild, seen)

    async def channel(self, channel: Readable) -> None:
        """Fetch what is missing of one channel or thread that has just come into sight."""
        seen = await self._service.last_seen(channel.guild.id)
        if bot_can_read(channel):
            await self._guarded(self._forward, channel, self.start(channel.guild, seen, channel))

    @staticmethod
    def start(guild: discord.Guild, seen: dict[int, int], channel: Readable) -> int:
        """Return the id after which messages are missing: the newest seen, or the time when the bot was invited.

        What was said before that is read only when an administrator asks for it.
        """
        return seen.get(channel.id) or _joined(guild)

    async def _guarded(
        self, step: Callable[[Readable, int], Awaitable[None]], channel: Readable, message_id: int
    ) -> None:
        """Run a step for a channel; what Discord refuses for one channel does not stop the others."""
        async with self._slots:
            try:
                if await self._service.is_remembered(channel.guild.id, channel.id):
                    await step(channel, message_id)
            except discord.NotFound:
                await self._service.forget_channel(channel.guild.id, channel.id)
            except discord.HTTPException as error:
                log.warning("channel %s could not be caught up: HTTP %s", channel.id, error.status)

    async def _forward(self, channel: Readable, after: int) -> None:
        interruptions = self._interruptions[channel.guild.id]
        while True:
            page = await page_after(channel, after)
            await self.remember(page)
            if page:
                after = page[-1].id
                await self._service.mark_seen(channel.id, after)
            if len(page) < PAGE:
                break
        if interruptions == self._interruptions[channel.guild.id]:
            self.set_live(channel.guild.id, channel.id)

    async def remember(self, page: list[discord.Message]) -> int:
        """Hand a page to the memory without touching the watermark; returns how many were new or changed."""
        records = [incoming(message) for message in page if message.author != self._bot.user]
        return await self._service.remember([r for r in records if r is not None], mark_seen=False)

    async def compare(self, channel: Readable, newest: int) -> None:
        """Compare pages of history up to ``newest`` with what is stored, further back while they differ."""
        before = newest + 1
        for _ in range(COMPARED_PAGES):
            if newest == 0 or not bot_can_read(channel):
                return
            page = await page_before(channel, before)
            oldest = page[-1].id if len(page) == PAGE else 0
            if not await self.level(channel, page, oldest, before - 1) or not oldest:
                return
            before = oldest

    async def level(self, channel: Readable, page: list[discord.Message], oldest: int, newest: int) -> int:
        """Forget what a page no longer shows, take in what it shows differently; returns how much that was.

        ``oldest`` and ``newest`` are the bounds, both included, between which the page is complete. What it shows and
        the memory never held is left alone: it was said before the bot came, and is read when somebody asks for it.
        """
        stored = await self._service.stored_versions(channel.id, oldest, newest)
        if not stored or not bot_can_read(channel):
            return 0
        shown = {message.id: message for message in page}
        gone = [message_id for message_id in stored if message_id not in shown]
        if gone:
            await self._service.forget_messages(channel.guild.id, gone)
        return len(gone) + await self.remember([shown[i] for i in stored if i in shown])

    async def _archived(self, guild: discord.Guild, seen: dict[int, int]) -> None:
        """Read threads that were opened, or spoken in, and archived again while nobody was listening."""
        away_since = discord.utils.snowflake_time(max(seen.values(), default=0) or _joined(guild))
        parents: list[discord.TextChannel | discord.ForumChannel] = [*guild.text_channels, *guild.forums]
        for channel in parents:
            granted = channel.permissions_for(guild.me)
            if not (granted.view_channel and granted.read_message_history):
                continue
            try:
                async for thread in channel.archived_threads(limit=ARCHIVED_LOOKED_AT):
                    if thread.archive_timestamp < away_since:
                        break
                    await self.archived_thread(thread, seen)
            except discord.HTTPException as error:
                log.info("archived threads of channel %s could not be listed: HTTP %s", channel.id, error.status)

    async def archived_thread(self, thread: discord.Thread, seen: dict[int, int]) -> None:
        """Bring one archived thread level."""
        info = channel_info(thread)
        if info is None or not bot_can_read(thread):
            return
        await self._intake.note_channels([info])
        await self._guarded(self._forward, thread, self.start(thread.guild, seen, thread))

    async def _vanished(self, guild: discord.Guild, seen: dict[int, int]) -> None:
        """Forget channels that were deleted meanwhile; an archived thread is merely not at hand."""
        for info in await self._service.channels(guild.id):
            if guild.unavailable or guild.get_channel_or_thread(info.id) is not None:
                continue
            try:
                found = await guild.fetch_channel(info.id)
            except discord.NotFound:
                await self._service.forget_channel(guild.id, info.id)
                self._intake.drop_channel(info.id)
            except (discord.HTTPException, discord.InvalidData) as error:
                log.info("channel %s could not be looked up: %s", info.id, type(error).__name__)
            else:
                told = channel_info(found)
                if told is not None and not info.confirmed:
                    await self._intake.note_channels([told])  # until now only a file had told of it
                if isinstance(found, discord.Thread) and (found.last_message_id or 0) > seen.get(found.id, 0):
                    await self.archived_thread(found, seen)
