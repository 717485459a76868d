"""Discord only: who may read what at this moment, asked of the servers that the bot sees."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import discord
from cachetools import TTLCache

from cogs.gateway.translate import guild_view_of, member_view
from cogs.memory.access.guild_view import GuildView, MemberView
from cogs.memory.access.permissions import audience_scope, direct_scope, reader_scope, threads_to_ask_about
from cogs.memory.records import Scope

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

NOBODY = Scope({})
_Asked = list[tuple[discord.Member, frozenset[int]]]
STRANGER_SECONDS, STRANGERS_KEPT = 600.0, 100_000
THREADS_ASKED = 50
OFFERED_SECONDS, OFFERED_KEPT = 60.0, 10_000
"""So long what Discord said of a person's private threads and servers serves to complete what they type."""


class Readers:
    """Answers, for each request anew, who may read what now."""

    def __init__(self, bot: discord.Client, service: MemoryService) -> None:
        self._bot = bot
        self._service = service
        self._offered: TTLCache[tuple[int, int | None], asyncio.Task[_Asked]] = TTLCache(OFFERED_KEPT, OFFERED_SECONDS)
        self._strangers: TTLCache[tuple[int, int], bool] = TTLCache(STRANGERS_KEPT, STRANGER_SECONDS)

    async def guild_view(self, guild: discord.Guild) -> GuildView | None:
        """Return a guild's rules with its archived threads, or ``None`` while Discord cannot tell them."""
        if guild.unavailable or guild.me is None:
            return None
        return guild_view_of(guild).with_known(await self._service.channels(guild.id))

    async def seen_by(self, member: discord.Member) -> GuildView | None:
        """Return the rules of a member's guild, with them in the private threads that they belong to."""
        guild = self._bot.get_guild(member.guild.id)
        view = await self.guild_view(guild) if guild is not None else None
        return None if view is None else view.with_thread_member(member.id, await self._threads(view, member))

    async def _threads(self, view: GuildView, member: discord.Member) -> frozenset[int]:
        """Ask Discord to which private threads somebody belongs, of those where that decides."""
        # Newest first: an id grows with time, and a limit keeps one request from becoming hundreds.
        asked = sorted(threads_to_ask_about(view, member_view(member)), reverse=True)[:THREADS_ASKED]
        answers = await asyncio.gather(*(self._belongs(thread, member.id) for thread in asked))
        return frozenset(thread for thread, belongs in zip(asked, answers, strict=True) if belongs)

    async def _belongs(self, thread_id: int, user_id: int) -> bool:
        try:
            await self._bot.http.get_thread_member(thread_id, user_id)
        except discord.HTTPException:
            return False
        return True

    async def reader(self, user: discord.Member | discord.User, asked_in: int | None) -> Scope:
        """Return what a person may read, asking in a channel of a guild, or by direct message."""
        if isinstance(user, discord.Member):
            view = await self.seen_by(user)
            return NOBODY if view is None else reader_scope(view, member_view(user), asked_in)
        members = await self._memberships(user)
        shared = [(member, await self.seen_by(member)) for member in members]
        return direct_scope((view, member_view(member)) for member, view in shared if view is not None)

    async def offered(self, user: discord.Member | discord.User, asked_in: int | None) -> Scope:
        """Return what to complete from while a person types: :meth:`reader`, but Discord is asked once a minute only.

        What their roles and the channels' rules are counts as it is now. Every keystroke comes here, and those that
        come while Discord is being asked wait for the same answer.
        """
        key = (user.id, user.guild.id if isinstance(user, discord.Member) else None)
        asking = self._offered.get(key)
        if asking is None or (asking.done() and (asking.cancelled() or asking.exception() is not None)):
            asking = self._offered[key] = asyncio.create_task(self._ask(user), name="asking for completion")
        asked = await asyncio.shield(asking)
        if isinstance(user, discord.Member):
            asked = [(user, asked[0][1])] if asked else []  # with the roles that came with this keystroke
        seen: list[tuple[GuildView, MemberView]] = []
        for member, threads in asked:
            guild = self._bot.get_guild(member.guild.id)
            view = None if guild is None else await self.guild_view(guild)
            if view is not None:
                seen.append((view.with_thread_member(member.id, threads), member_view(member)))
        if isinstance(user, discord.Member):
            return reader_scope(*seen[0], asked_in) if seen else NOBODY
        return direct_scope(seen)

    async def _ask(self, user: discord.Member | discord.User) -> _Asked:
        members = [user] if isinstance(user, discord.Member) else await self._memberships(user)
        asked: _Asked = []
        for member in members:
            guild = self._bot.get_guild(member.guild.id)
            view = None if guild is None else await self.guild_view(guild)
            if view is not None:
                asked.append((member, await self._threads(view, member)))
        return asked

    async def _memberships(self, user: discord.User) -> list[discord.Member]:
        found = await asyncio.gather(*(self._member(guild, user.id) for guild in self._bot.guilds))
        return [member for member in found if member is not None]

    async def _member(self, guild: discord.Guild, user_id: int) -> discord.Member | None:
        """Ask Discord whether somebody is a member now; only a "no" is kept, for a while."""
        key = (guild.id, user_id)
        if guild.unavailable or key in self._strangers:
            return None
        try:
            return await guild.fetch_member(user_id)
        except discord.NotFound:
            self._strangers[key] = True
        except discord.HTTPException:
            return None
        return None

    def came(self, guild_id: int, user_id: int) -> None:
        """Note that somebody is a member after all."""
        self._strangers.pop((guild_id, user_id), None)

    def names(self, scope: Scope) -> dict[int, str]:
        """Return names for the mentions inside of messages: of the channels in a scope, and of their guilds' roles."""
        names: dict[int, str] = {}
        for guild_id, channel_ids in scope.channels.items():
            guild = self._bot.get_guild(guild_id)
            if guild is not None:
                names.update((role.id, role.name) for role in guild.roles)
                found = (guild.get_channel_or_thread(channel_id) for channel_id in channel_ids)
                names.update((channel.id, channel.name) for channel in found if channel is not None)
        return names

    async def audience(self, guild: discord.Guild, channel_id: int) -> Scope:
        """Return what everybody who could see a channel of a guild may read."""
        view = await self.guild_view(guild)
        return NOBODY if view is None else audience_scope(view, channel_id)
