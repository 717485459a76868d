"""The kinds of channels under the names and numbers that exports give them. Pure.

Numbers are Discord's own (https://discord.com/developers/docs/resources/channel#channel-object-channel-types). The
exporter writes the number of a kind that it has no name for; Discord's data package writes other names again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

ChannelKind = Literal["text", "voice", "forum", "thread"]

_KINDS: Final[Mapping[str, ChannelKind]] = {
    "GuildTextChat": "text",
    "GuildNews": "text",
    "GuildVoiceChat": "voice",
    "GuildStageVoice": "voice",
    "GuildForum": "forum",
    "GuildMedia": "forum",
    "GuildNewsThread": "thread",
    "GuildPublicThread": "thread",
    "GuildPrivateThread": "thread",
    "0": "text",
    "2": "voice",
    "5": "text",
    "10": "thread",
    "11": "thread",
    "12": "thread",
    "13": "voice",
    "15": "forum",
    "16": "forum",
    "GUILD_VOICE": "voice",
    "GUILD_STAGE_VOICE": "voice",
    "GUILD_FORUM": "forum",
    "GUILD_MEDIA": "forum",
    "ANNOUNCEMENT_THREAD": "thread",
    "GUILD_NEWS_THREAD": "thread",
    "PUBLIC_THREAD": "thread",
    "PRIVATE_THREAD": "thread",
}
_DIRECT: Final = frozenset({"1", "3", "DM", "GROUP_DM"})
_PRIVATE: Final = frozenset({"GuildPrivateThread", "12", "PRIVATE_THREAD"})


def kind_of_channel(kind: str | int) -> ChannelKind:
    """Return the kind of a channel; one that is not known yet holds messages like any other."""
    return _KINDS.get(str(kind), "text")


def is_direct(kind: str | int) -> bool:
    """Return whether it is a conversation outside of servers."""
    return str(kind).startswith("Direct") or str(kind) in _DIRECT


def is_private_thread(kind: str | int) -> bool:
    """Return whether it is a thread that only those in it may read."""
    return str(kind) in _PRIVATE
