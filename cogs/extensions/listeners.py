"""Discord only: what the gateway tells, handed to the memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from cogs.gateway.intake import Arrival, insist
from cogs.gateway.translate import channel_info, incoming, kind_of

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot

log = logging.getLogger(__name__)
RESUME_PAUSE = 60.0


class Listeners(commands.Cog):
    """Remembers what is said, takes in edits, forgets what is deleted, and catches up after an absence."""

    def __init__(self, bot: MnemeBot) -> None:
        self.bot = bot
        self.catch_up = bot.catch_up
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._caught_up_at: dict[int, float] = {}
        self._again: set[int] = set()
        self._connected_at: dict[int, float] = {}

    async def cog_unload(self) -> None:
        """Stop what is under way; the watermarks say where to go on."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # -- messages ------------------------------------------------------------------------------------------

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Remember a message."""
        if message.guild is not None:
            self.bot.readers.came(message.guild.id, message.author.id)
            await self._take_in(message)

    async def _take_in(self, message: discord.Message) -> None:
        record = incoming(message)
        if record is None or message.author == self.bot.user:
            return
        channel: object = message.channel
        if kind_of(channel) is None:
            # A thread that has just been taken out of the archive: without its parent nobody could be shown it.
            channel = await self.bot.fetch_channel(message.channel.id)
        live = self.catch_up.is_live(record.guild_id, record.channel_id)
        await self.bot.intake.put(Arrival(record, channel_info(channel), mark_seen=live))

    @commands.Cog.listener()
    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        """Take in the new text of a message, whether or not the old one is at hand."""
        message = payload.message
        if payload.guild_id is None:
            return
        told: Mapping[str, object] = {**payload.data}
        if "content" not in told or "author" not in told:
            channel = self.bot.get_partial_messageable(payload.channel_id, guild_id=payload.guild_id)
            message = await channel.fetch_message(payload.message_id)
        if incoming(message) is None:
            await self._forget(payload.guild_id, [payload.message_id])
        else:
            await self._take_in(message)

    @commands.Cog.listener()
    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        """Forget a message."""
        if payload.guild_id is not None:
            await self._forget(payload.guild_id, [payload.message_id])

    @commands.Cog.listener()
    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        """Forget many messages."""
        if payload.guild_id is not None:
            await self._forget(payload.guild_id, sorted(payload.message_ids))

    async def _forget(self, guild_id: int, message_ids: list[int]) -> None:
        await insist(lambda: self.bot.service.forget_messages(guild_id, message_ids), "a deletion")

    async def _forget_channel(self, guild_id: int, channel_id: int) -> None:
        self.bot.intake.drop_channel(channel_id)
        await insist(lambda: self.bot.service.forget_channel(guild_id, channel_id), "a deletion")

    # -- channels and threads ------------------------------------------------------------------------------

    @commands.Cog.listener()
    async def on_guild_channel_create(self, channel: discord.abc.GuildChannel) -> None:
        """Record a new channel, of which nothing can be missing."""
        await self._note(channel)
        self.catch_up.set_live(channel.guild.id, channel.id)

    @commands.Cog.listener()
    async def on_guild_channel_update(self, _: discord.abc.GuildChannel, channel: discord.abc.GuildChannel) -> None:
        """Record a new name, or that it is age-restricted now."""
        await self._note(channel)

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """Forget a channel and its threads."""
        await self._forget_channel(channel.guild.id, channel.id)

    @commands.Cog.listener()
    async def on_thread_create(self, thread: discord.Thread) -> None:
        """Record a new thread, of which nothing can be missing."""
        await self._note(thread)
        self.catch_up.set_live(thread.guild.id, thread.id)

    @commands.Cog.listener()
    async def on_thread_join(self, thread: discord.Thread) -> None:
        """Record a thread that came into sight, perhaps out of the archive, and what was said in it unseen."""
        await self._note(thread)
        if not self.catch_up.is_live(thread.guild.id, thread.id):
            await self.catch_up.channel(thread)

    @commands.Cog.listener()
    async def on_thread_update(self, _: discord.Thread, thread: discord.Thread) -> None:
        """Record a thread's new name."""
        await self._note(thread)

    @commands.Cog.listener()
    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        """Forget a thread, archived or not."""
        await self._forget_channel(payload.guild_id, payload.thread_id)

    async def _note(self, channel: discord.abc.GuildChannel | discord.Thread) -> None:
        info = channel_info(channel)
        if info is not None:
            await self.bot.intake.note_channels([info])

    # -- guilds --------------------------------------------------------------------------------------------

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Begin to remember a server from now on."""
        self._begin(guild)

    @commands.Cog.listener()
    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Catch up with a server that Discord could not reach for a while."""
        self._begin(guild)

    @commands.Cog.listener()
    async def on_guild_unavailable(self, guild: discord.Guild) -> None:
        """Note that events of a server are being missed."""
        self.catch_up.interrupted([guild.id])

    @commands.Cog.listener()
    async def on_guild_update(self, _: discord.Guild, guild: discord.Guild) -> None:
        """Record a server's new name."""
        await self.bot.service.upsert_guild(guild.id, guild.name, guild.me.id)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Let a server's grace period begin."""
        self.catch_up.interrupted([guild.id])
        if self.bot.user is not None:
            await self.bot.service.guild_left(guild.id, self.bot.user.id)

    # -- coming back ---------------------------------------------------------------------------------------

    @commands.Cog.listener()
    async def on_shard_connect(self, shard_id: int) -> None:
        """Note, before any new event is handled, that events may have been missed."""
        self._connected_at[shard_id] = time.monotonic()
        self.catch_up.interrupted([guild.id for guild in self.bot.guilds if guild.shard_id == shard_id])

    @commands.Cog.listener()
    async def on_shard_ready(self, shard_id: int) -> None:
        """Catch up with every server of a shard."""
        for guild in self.bot.guilds:
            begun = self._caught_up_at.get(guild.id, -1.0) >= self._connected_at.get(shard_id, 0.0)
            if guild.shard_id == shard_id and not guild.unavailable and not begun:
                self._begin(guild)

    @commands.Cog.listener()
    async def on_shard_resumed(self, shard_id: int) -> None:
        """Look after a resumed session, although Discord plays back what it missed; not at every flutter."""
        for guild in self.bot.guilds:
            due = time.monotonic() - self._caught_up_at.get(guild.id, 0.0) > RESUME_PAUSE
            if guild.shard_id == shard_id and not guild.unavailable and due:
                self._begin(guild)

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Let the grace period begin for servers that the bot was removed from while it was away."""
        if len(self.bot.shards) == self.bot.shard_count and self.bot.user is not None:
            here = {guild.id for guild in self.bot.guilds}
            # Only of those that this bot was in: an imported server, or another bot's, was not left.
            for guild_id in await self.bot.service.guilds_of(self.bot.user.id):
                if guild_id not in here:
                    await self.bot.service.guild_left(guild_id, self.bot.user.id)

    def _begin(self, guild: discord.Guild) -> None:
        """Start to catch up with a guild in the background; where that is under way, do it again afterwards."""
        self._caught_up_at[guild.id] = time.monotonic()
        running = self._tasks.get(guild.id)
        if running is not None and not running.done():
            self._again.add(guild.id)
        else:
            self._tasks[guild.id] = asyncio.create_task(self._catch_up(guild), name=f"catch-up {guild.id}")

    async def _catch_up(self, guild: discord.Guild) -> None:
        try:
            await self.catch_up.guild(guild)
            while guild.id in self._again:
                self._again.discard(guild.id)
                await self.catch_up.guild(guild)
            await self.bot.backfills.go_on(guild)
        except Exception as error:  # noqa: BLE001 - a task of its own: nobody else would tell of it
            self.bot.errors.log("catching up with a server", error)


async def setup(bot: MnemeBot) -> None:
    """Add the cog."""
    await bot.add_cog(Listeners(bot))
