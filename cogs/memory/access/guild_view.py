"""A guild at one moment as plain records: its roles, channels, overwrites and threads. Pure, free of Discord."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from cogs.memory.records import ChannelInfo

Kind = Literal["text", "voice", "forum", "thread"]


@dataclass(frozen=True, slots=True)
class RoleView:
    """A role and its guild-wide permission bits; the role whose id is the guild's is @everyone."""

    id: int
    name: str
    permissions: int


@dataclass(frozen=True, slots=True)
class OverwriteView:
    """What a channel allows and denies a role or a member, as permission bits."""

    id: int
    type: Literal["role", "member"]
    allow: int
    deny: int


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel or thread. ``private`` and ``members`` (user ids) say who is in a private thread.

    Categories are left out: Discord copies their overwrites into the channels and does not inherit at run time.
    """

    id: int
    name: str
    kind: Kind = "text"
    parent_id: int | None = None
    nsfw: bool = False
    private: bool = False
    overwrites: tuple[OverwriteView, ...] = ()
    members: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member and the ids of their roles; @everyone need not be among them.

    A timeout is left out because it takes away neither View Channel nor Read Message History. A ``guest`` came by an
    invitation to one voice channel and sees that channel only, whatever @everyone may see.
    """

    id: int
    name: str = ""
    role_ids: frozenset[int] = frozenset()
    guest: bool = False


@dataclass(frozen=True)
class GuildView:
    """A guild at one moment. A new one is taken for every request, so nothing here can be out of date."""

    id: int
    name: str
    owner_id: int
    roles: tuple[RoleView, ...]
    channels: tuple[ChannelView, ...]
    members: tuple[MemberView, ...] = field(default=())

    @cached_property
    def by_id(self) -> Mapping[int, ChannelView]:
        """The channels and threads by id."""
        return {channel.id: channel for channel in self.channels}

    @cached_property
    def role_bits(self) -> Mapping[int, int]:
        """The guild-wide permission bits of each role by id."""
        return {role.id: role.permissions for role in self.roles}

    def ruling(self, channel: ChannelView) -> ChannelView | None:
        """Return the channel whose overwrites decide: a thread's parent, or ``None`` where that is gone."""
        if channel.kind != "thread":
            return channel
        parent = self.by_id.get(channel.parent_id) if channel.parent_id is not None else None
        return None if parent is None or parent.kind == "thread" else parent

    def is_age_restricted(self, channel_id: int | None) -> bool:
        """Return whether a channel, or a thread's parent, is age-restricted; an unknown channel is not."""
        channel = self.by_id.get(channel_id) if channel_id is not None else None
        ruling = self.ruling(channel) if channel is not None else None
        return ruling is not None and ruling.nsfw

    def with_known(self, known: Iterable[ChannelInfo]) -> GuildView:
        """Return this view with the remembered threads that Discord no longer keeps at hand (archived ones).

        A thread counts only while its parent exists. A private one comes without members: only Manage Threads
        opens it, until somebody who asked Discord adds them (:meth:`with_thread_member`).
        Other channels that the view does not have are deleted, and stay so. Of a thread that only a file told of
        it is not known who may read it: until Discord tells, it counts as private.
        """
        added = [
            ChannelView(info.id, info.name, "thread", info.parent_id, private=info.private or not info.confirmed)
            for info in known
            if info.kind == "thread" and info.guild_id == self.id
            if info.id not in self.by_id and info.parent_id in self.by_id
        ]
        return replace(self, channels=(*self.channels, *added)) if added else self

    def with_thread_member(self, member_id: int, thread_ids: frozenset[int]) -> GuildView:
        """Return this view with a member in exactly ``thread_ids`` of the private threads."""
        return replace(self, channels=tuple(_joined(c, member_id, c.id in thread_ids) for c in self.channels))


def _joined(channel: ChannelView, member_id: int, joined: bool) -> ChannelView:
    if not channel.private or joined == (member_id in channel.members):
        return channel
    members = channel.members | {member_id} if joined else channel.members - {member_id}
    return replace(channel, members=members)


def guild_view_from_json(data: Mapping[str, Any]) -> GuildView:
    """Read a view from JSON; ids and bit fields are strings, as Discord writes them.

    Raises:
        KeyError, ValueError: where a required field is missing or is no number.
    """
    return GuildView(
        id=int(data["id"]),
        name=str(data["name"]),
        owner_id=int(data["owner_id"]),
        roles=tuple(RoleView(int(r["id"]), str(r["name"]), int(r["permissions"])) for r in data["roles"]),
        channels=tuple(_channel_from_json(channel) for channel in data["channels"]),
        members=tuple(
            MemberView(int(m["id"]), str(m["name"]), frozenset(map(int, m.get("roles", ())))) for m in data["members"]
        ),
    )


def _channel_from_json(data: Mapping[str, Any]) -> ChannelView:
    kind = data.get("kind", "text")
    if kind not in ("text", "voice", "forum", "thread"):
        raise ValueError(f"unknown kind of channel: {kind!r}")
    parent = data.get("parent_id")
    return ChannelView(
        id=int(data["id"]),
        name=str(data["name"]),
        kind=kind,
        parent_id=None if parent is None else int(parent),
        nsfw=bool(data.get("nsfw", False)),
        private=bool(data.get("private", False)),
        overwrites=tuple(
            OverwriteView(int(o["id"]), "role" if o["type"] == "role" else "member", int(o["allow"]), int(o["deny"]))
            for o in data.get("overwrites", ())
        ),
        members=frozenset(map(int, data.get("members", ()))),
    )
