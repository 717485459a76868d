"""Discord only: Discord's objects turned into the plain records that everything below the cogs works on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import discord

from cogs.memory.access import audience_scope, direct_scope, reader_scope, threads_to_ask_about
from cogs.memory.records import Attachment, ChannelInfo, IncomingMessage, MessageKind, Scope
from cogs.memory.snapshot import ChannelView, GuildSnapshot, Kind, MemberView, OverwriteView, RoleView

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

NOBODY = Scope({})
STRANGER_SECONDS = 600.0
THREADS_ASKED = 50

_SPOKEN = (
    discord.MessageType.default,
    discord.MessageType.chat_input_command,
    discord.MessageType.context_menu_command,
)


def kind_of(channel: object) -> Kind | None:
    """Return the kind of a channel that holds messages or threads, or ``None`` for others."""
    if isinstance(channel, discord.Thread):
        return "thread"
    if isinstance(channel, discord.TextChannel):
        return "text"
    if isinstance(channel, discord.VoiceChannel | discord.StageChannel):
        return "voice"
    return "forum" if isinstance(channel, discord.ForumChannel) else None


def channel_info(channel: object) -> ChannelInfo | None:
    """Return the record of a guild's channel or thread, or ``None`` where it holds no messages of a guild."""
    kind = kind_of(channel)
    if kind is None:
        return None
    assert isinstance(channel, discord.Thread | discord.abc.GuildChannel)
    if isinstance(channel, discord.Thread):
        nsfw = channel.parent is not None and channel.parent.is_nsfw()
        private = channel.is_private()
        return ChannelInfo(channel.id, channel.guild.id, channel.name, kind, channel.parent_id, nsfw, private)
    nsfw = bool(getattr(channel, "nsfw", False))
    return ChannelInfo(channel.id, channel.guild.id, channel.name, kind, channel.category_id, nsfw)


def channel_infos(guild: discord.Guild) -> list[ChannelInfo]:
    """Return the records of every channel and active thread of a guild."""
    found = (channel_info(channel) for channel in (*guild.channels, *guild.threads))
    return [info for info in found if info is not None]


def incoming(message: discord.Message) -> IncomingMessage | None:
    """Return what is remembered of a message, or ``None`` where it says nothing or is no guild's."""
    if message.guild is None:
        return None
    record = IncomingMessage(
        id=message.id,
        guild_id=message.guild.id,
        channel_id=message.channel.id,
        author_id=message.author.id,
        author_name=message.author.display_name,
        content=message.content,
        created_at=message.created_at,
        author_is_bot=message.author.bot,
        edited_at=message.edited_at,
        reply_to_id=_answered(message),
        kind=_kind_of_message(message),
        attachments=tuple(
            Attachment(file.id, file.filename, file.url, file.content_type, file.size) for file in message.attachments
        ),
        embed_text=_embed_text(message),
    )
    return record if record.content.strip() or record.attachments or record.embed_text else None


def _answered(message: discord.Message) -> int | None:
    if message.type is not discord.MessageType.reply or message.reference is None:
        return None
    return message.reference.message_id


def _kind_of_message(message: discord.Message) -> MessageKind:
    if message.type is discord.MessageType.reply:
        return "reply"
    return "default" if message.type in _SPOKEN else "system"


def _embed_text(message: discord.Message) -> str:
    """Return what a message shows beside its own words: embeds, what it forwards, a poll."""
    parts: list[str | None] = []
    for embed in message.embeds:
        parts += [embed.author.name, embed.title, embed.description]
        parts += [f"{field.name}: {field.value}" for field in embed.fields]
        parts.append(embed.footer.text)
    parts += [snapshot.content for snapshot in message.message_snapshots]
    if message.poll is not None:
        parts += [message.poll.question, *(answer.text for answer in message.poll.answers)]
    return "\n".join(part for part in parts if part)


def snapshot_of(guild: discord.Guild) -> GuildSnapshot:
    """Return the guild's rules of reading as Discord's gateway last told them.

    The bot's own role and overwrites are left out: it is the one who speaks, not one of those who are spoken to, and
    nobody else can hold that role. Private threads come without members, because without the privileged members
    intent Discord tells only on request who is in them (:class:`Readers`).
    """
    own = guild.self_role
    own_ids = {guild.me.id} if own is None else {guild.me.id, own.id}
    return GuildSnapshot(
        id=guild.id,
        name=guild.name,
        owner_id=guild.owner_id or 0,
        roles=tuple(RoleView(r.id, r.name, r.permissions.value) for r in guild.roles if r.id not in own_ids),
        channels=tuple(
            _channel_view(channel, own_ids)
            for channel in (*guild.channels, *guild.threads)
            if kind_of(channel) is not None
        ),
    )


def _channel_view(channel: discord.abc.GuildChannel | discord.Thread, own_ids: set[int]) -> ChannelView:
    info = channel_info(channel)
    assert info is not None
    if isinstance(channel, discord.Thread):
        return ChannelView(info.id, info.name, "thread", info.parent_id, private=info.private)
    # channel.overwrites would build an object with fifty named flags for each, on the event loop.
    overwrites = tuple(
        OverwriteView(o.id, "role" if o.is_role() else "member", o.allow, o.deny)
        for o in channel._overwrites
        if o.id not in own_ids
    )
    return ChannelView(info.id, info.name, info.kind, info.parent_id, info.nsfw, overwrites=overwrites)


def member_view(member: discord.Member) -> MemberView:
    """Return a member with their roles; take one that came with an event, because no cache keeps them up to date."""
    return MemberView(member.id, member.display_name, frozenset(role.id for role in member.roles))


class Readers:
    """Answers, for each request anew, who may read what now."""

    def __init__(self, bot: discord.Client, service: MemoryService) -> None:
        self._bot = bot
        self._service = service
        self._strangers: dict[tuple[int, int], float] = {}

    async def snapshot(self, guild: discord.Guild) -> GuildSnapshot | None:
        """Return a guild's rules with its archived threads, or ``None`` while Discord cannot tell them."""
        if guild.unavailable or guild.me is None:
            return None
        return snapshot_of(guild).with_known(await self._service.channels(guild.id))

    async def seen_by(self, member: discord.Member) -> GuildSnapshot | None:
        """Return the rules of a member's guild, with them in the private threads that they belong to."""
        guild = self._bot.get_guild(member.guild.id)
        snapshot = await self.snapshot(guild) if guild is not None else None
        if snapshot is None:
            return None
        # Newest first: an id grows with time, and a limit keeps one request from becoming hundreds.
        asked = sorted(threads_to_ask_about(snapshot, member_view(member)), reverse=True)[:THREADS_ASKED]
        answers = await asyncio.gather(*(self._belongs(thread, member.id) for thread in asked))
        joined = frozenset(thread for thread, belongs in zip(asked, answers, strict=True) if belongs)
        return snapshot.with_thread_member(member.id, joined)

    async def _belongs(self, thread_id: int, user_id: int) -> bool:
        try:
            await self._bot.http.get_thread_member(thread_id, user_id)
        except discord.HTTPException:
            return False
        return True

    async def reader(self, user: discord.Member | discord.User, asked_in: int | None) -> Scope:
        """Return what a person may read, asking in a channel of a guild, or by direct message."""
        if isinstance(user, discord.Member):
            snapshot = await self.seen_by(user)
            return NOBODY if snapshot is None else reader_scope(snapshot, member_view(user), asked_in)
        members = await asyncio.gather(*(self._member(guild, user.id) for guild in self._bot.guilds))
        shared = [(member, await self.seen_by(member)) for member in members if member is not None]
        return direct_scope((snapshot, member_view(member)) for member, snapshot in shared if snapshot is not None)

    async def _member(self, guild: discord.Guild, user_id: int) -> discord.Member | None:
        """Ask Discord whether somebody is a member now; only a "no" is kept, for a while."""
        key = (guild.id, user_id)
        if guild.unavailable or self._strangers.get(key, 0.0) > time.monotonic():
            return None
        try:
            return await guild.fetch_member(user_id)
        except discord.NotFound:
            now = time.monotonic()
            self._strangers = {k: until for k, until in self._strangers.items() if until > now}
            self._strangers[key] = now + STRANGER_SECONDS
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
        snapshot = await self.snapshot(guild)
        return NOBODY if snapshot is None else audience_scope(snapshot, channel_id)
