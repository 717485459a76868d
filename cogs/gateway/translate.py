"""Discord only: Discord's objects turned into the plain records that everything below the cogs works on."""

from __future__ import annotations

import re
from itertools import chain

import discord

from cogs.gateway.shown import shown_of
from cogs.memory.access.guild_view import ChannelView, GuildView, Kind, MemberView, OverwriteView, RoleView
from cogs.memory.records import Attachment, ChannelInfo, IncomingMessage, MessageKind
from cogs.memory.text.shown import shown_text

_PICTURE = re.compile(r"/(?:avatars|users)/(\d{15,20})/")
_SPOKEN = (
    discord.MessageType.default,
    discord.MessageType.chat_input_command,
    discord.MessageType.context_menu_command,
    discord.MessageType.poll_result,
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
        author_username=message.author.name,
        content=message.content,
        created_at=message.created_at,
        author_is_bot=message.author.bot,
        edited_at=message.edited_at,
        reply_to_id=_answered(message),
        kind=_kind_of_message(message),
        attachments=tuple(
            Attachment(file.id, file.filename, file.url, file.content_type, file.size)
            for file in chain(message.attachments, *(snapshot.attachments for snapshot in message.message_snapshots))
        ),
        embed_text=shown_text(shown_of(message)),
        webhook=_is_webhook(message),
        forwarded_from=_forwarded(message),
        quoted=quoted_people(message),
    )
    return record if record.content.strip() or record.attachments or record.embed_text else None


def _is_webhook(message: discord.Message) -> bool:
    """Return whether a webhook wrote it; answers to commands carry a webhook's number as well and are a bot's."""
    return message.webhook_id is not None and message.interaction_metadata is None


def _forwarded(message: discord.Message) -> int | None:
    return message.reference.message_id if message.message_snapshots and message.reference is not None else None


def quoted_people(message: discord.Message) -> tuple[int, ...]:
    """Return the people whose pictures stand beside the embeds of a message, as bots show whom they quote."""
    embeds = chain(message.embeds, *(snapshot.embeds for snapshot in message.message_snapshots))
    pictures = (url or "" for embed in embeds for url in (embed.author.icon_url, embed.footer.icon_url))
    return tuple(dict.fromkeys(int(user) for url in pictures for user in _PICTURE.findall(url)))


def _answered(message: discord.Message) -> int | None:
    if message.type is not discord.MessageType.reply or message.reference is None:
        return None
    return message.reference.message_id


def _kind_of_message(message: discord.Message) -> MessageKind:
    if message.type is discord.MessageType.reply:
        return "reply"
    return "default" if message.type in _SPOKEN else "system"


def guild_view_of(guild: discord.Guild) -> GuildView:
    """Return the guild's rules of reading as Discord's gateway last told them.

    The bot's own role and overwrites are left out: it is the one who speaks, not one of those who are spoken to, and
    nobody else can hold that role. Private threads come without members, because without the privileged members
    intent Discord tells only on request who is in them (:class:`Readers`).
    """
    own = guild.self_role
    own_ids = {guild.me.id} if own is None else {guild.me.id, own.id}
    return GuildView(
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
    return MemberView(
        member.id, member.display_name, frozenset(role.id for role in member.roles), guest=member.flags.guest
    )
