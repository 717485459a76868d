"""Which channels may this person, or this audience, read. Pure: it works on a plain view of a guild.

Two questions are answered, both from Discord's own rules (https://discord.com/developers/docs/topics/permissions):

* :func:`reader_scope`: where does *this person* have View Channel and Read Message History now;
* :func:`audience_scope`: what may *everybody who can see a destination* read, because a public reply is shown to all.

The two differ in what they ask of the destination on purpose: somebody with View Channel but without Read Message
History does see a reply that arrives while they are there, so they belong to the audience of a reply, but they may not
be shown what was said before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cogs.memory.access.guild_view import (
    ChannelView,
    GuildView,
    MemberView,
    OverwriteView,
    RoleView,
    guild_view_from_json,
)
from cogs.memory.records import Scope

__all__ = [
    "ChannelView",
    "GuildView",
    "MemberView",
    "OverwriteView",
    "RoleView",
    "audience_scope",
    "can_read",
    "direct_scope",
    "guild_view_from_json",
    "may_manage",
    "reader_scope",
    "threads_to_ask_about",
]

ADMINISTRATOR = 1 << 3
MANAGE_GUILD = 1 << 5
VIEW_CHANNEL = 1 << 10
READ_MESSAGE_HISTORY = 1 << 16
CONNECT = 1 << 20
MANAGE_THREADS = 1 << 34

# --- one person -------------------------------------------------------------------------------------------------


def permissions_in(view: GuildView, member: MemberView, channel: ChannelView) -> int:
    """Return the permission bits of a member in a channel (not a thread), in Discord's order of resolution.

    The owner and administrators have every bit. The implicit denials that follow from a missing View Channel
    are not applied; callers ask for View Channel as well.
    """
    everyone = view.role_bits.get(view.id, 0)
    bits = everyone
    for role_id in member.role_ids:
        bits |= view.role_bits.get(role_id, 0)
    if member.id == view.owner_id or bits & ADMINISTRATOR:
        return -1
    allow = deny = 0
    own = None
    for overwrite in channel.overwrites:
        if overwrite.type == "member":
            own = overwrite if overwrite.id == member.id else own
        elif overwrite.id == view.id:
            bits = (bits & ~overwrite.deny) | overwrite.allow
        elif overwrite.id in member.role_ids:
            allow |= overwrite.allow
            deny |= overwrite.deny
    bits = (bits & ~deny) | allow
    return bits if own is None else (bits & ~own.deny) | own.allow


def may_manage(view: GuildView, member: MemberView) -> bool:
    """Return whether a member may manage the server: its owner, administrators, and whoever has Manage Server."""
    if member.id == view.owner_id:
        return True
    bits = view.role_bits.get(view.id, 0)
    for role_id in member.role_ids:
        bits |= view.role_bits.get(role_id, 0)
    return bool(bits & (ADMINISTRATOR | MANAGE_GUILD))


def needed_to_read(channel: ChannelView) -> int:
    """Return the bits that reading a channel's history takes; the text of a voice channel takes Connect too."""
    return VIEW_CHANNEL | READ_MESSAGE_HISTORY | (CONNECT if channel.kind == "voice" else 0)


def can_read(view: GuildView, member: MemberView, channel: ChannelView) -> bool:
    """Return whether a member may read what was said in a channel or thread, age restriction aside."""
    ruling = view.ruling(channel)
    if ruling is None:
        return False
    bits = permissions_in(view, member, ruling)
    needed = needed_to_read(ruling)
    if bits & needed != needed:
        return False
    return not channel.private or member.id in channel.members or bool(bits & MANAGE_THREADS)


def reader_scope(view: GuildView, member: MemberView, asked_in: int | None) -> Scope:
    """Return the channels and threads that a person may read now.

    Args:
        view: The guild, with the person in the private threads that they belong to.
        member: The person and their roles.
        asked_in: The id of the channel in which they ask; age-restricted channels count only where it is one.
            ``None`` for a direct message or a shell. A guest reads the voice channel where they ask, and nothing else:
            Discord lets them ask nowhere but in the one that they were invited to.
    """
    restricted = view.is_age_restricted(asked_in)
    readable = {
        channel.id
        for channel in view.channels
        if (restricted or not view.is_age_restricted(channel.id)) and can_read(view, member, channel)
        if not member.guest or (channel.kind == "voice" and channel.id == asked_in)
    }
    return Scope({view.id: frozenset(readable)} if readable else {})


def threads_to_ask_about(view: GuildView, member: MemberView) -> frozenset[int]:
    """Return the private threads that a person reads only if they belong to them, which Discord alone knows."""
    return frozenset(
        channel.id
        for channel in view.channels
        if channel.private
        and not member.guest
        and not can_read(view, member, replace(channel, members=frozenset()))
        and can_read(view, member, replace(channel, members=frozenset({member.id})))
    )


def direct_scope(readers: Iterable[tuple[GuildView, MemberView]]) -> Scope:
    """Return what a person may read in every guild that they share with the bot, never age-restricted channels."""
    channels: dict[int, frozenset[int]] = {}
    for view, member in readers:
        channels.update(reader_scope(view, member, None).channels)
    return Scope(channels)


# --- an audience ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rules:
    """The overwrites of a channel, turned around: for each bit, the set of roles that allow or deny it.

    A set of roles is an ``int`` with one bit for each role of the guild.
    """

    everyone_allow: int
    everyone_deny: int
    allow: Mapping[int, int]
    deny: Mapping[int, int]
    members: Mapping[int, OverwriteView]


class _Audience:
    """Looks for somebody who could see one channel but not read another.

    No list of members is needed, and none is kept: roles are given out at any time, so everybody who *could* be a
    member counts. A member is a set of roles beside @everyone, and perhaps an identity that an overwrite names.
    Owner and administrators read everything, so only the other roles matter.

    Why looking at a few large sets of roles finds a counterexample whenever there is one: a member has a bit in a
    channel in one of two ways, either (allow) one of their roles allows it there, or (base) none of their roles denies
    it there and @everyone's overwrite, or a role's guild-wide permission where @everyone's overwrite does not deny it,
    gives it. They lack it in one of two ways, either (deny) no role allows it and one denies it, or (absent) no role
    allows it and nothing gives it. Once a way is chosen for each bit, every condition says either "no role of this
    kind" or "at least one role of that kind". Taking *all* roles that no condition forbids therefore satisfies
    the conditions whenever any set of roles does, and one look at it decides. The tests compare this with every set.
    """

    def __init__(self, view: GuildView) -> None:
        self._view = view
        self._everyone = view.role_bits.get(view.id, 0)
        self._roles = [role for role in view.roles if role.id != view.id and not role.permissions & ADMINISTRATOR]
        self._index = {role.id: 1 << place for place, role in enumerate(self._roles)}
        self._all = (1 << len(self._roles)) - 1
        self._base = {
            bit: sum(self._index[role.id] for role in self._roles if role.permissions & bit)
            for bit in (VIEW_CHANNEL, READ_MESSAGE_HISTORY, CONNECT)
        }
        self._rules: dict[int, _Rules] = {}
        self._answers: dict[tuple[object, ...], bool] = {}

    def covers(self, destination: ChannelView, channel: ChannelView) -> bool:
        """Return whether everybody who could see ``destination`` may read ``channel`` (neither is a thread)."""
        if self._everyone & ADMINISTRATOR:
            return True
        key = (destination.id, needed_to_read(channel), channel.overwrites)
        if key not in self._answers:
            self._answers[key] = not self._has_outsider(destination, channel)
        return self._answers[key]

    def _has_outsider(self, destination: ChannelView, channel: ChannelView) -> bool:
        seen, read = self._rules_of(destination), self._rules_of(channel)
        identities = [None, *(seen.members.keys() | read.members.keys()) - {self._view.owner_id}]
        return any(
            self._can_see(seen, identity, permitted, one_of)
            for identity in identities
            for permitted, one_of in self._ways_to_lack(read, needed_to_read(channel), identity)
        )

    def _ways_to_lack(self, rules: _Rules, needed: int, identity: int | None) -> Iterable[tuple[int, int | None]]:
        """Yield (roles permitted, roles of which one is needed or ``None``) for each way to miss a needed bit."""
        own = rules.members.get(identity) if identity is not None else None
        for bit in _bits(needed):
            if own is not None and own.allow & bit:
                continue
            if own is not None and own.deny & bit:
                yield self._all, None
                continue
            permitted = self._all & ~rules.allow[bit]
            yield permitted, rules.deny[bit]
            if rules.everyone_allow & bit:
                continue
            if rules.everyone_deny & bit:
                yield permitted, None
            elif not self._everyone & bit:
                yield permitted & ~self._base[bit], None

    def _can_see(self, rules: _Rules, identity: int | None, permitted: int, one_of: int | None) -> bool:
        """Return whether a set of the permitted roles, with one of ``one_of``, gives View Channel."""
        own = rules.members.get(identity) if identity is not None else None
        bit = VIEW_CHANNEL
        if own is not None and own.allow & bit:
            return one_of is None or bool(permitted & one_of)
        if own is not None and own.deny & bit:
            return False
        for by_overwrite in (True, False):
            roles = permitted if by_overwrite else permitted & ~rules.deny[bit]
            if one_of is not None and not roles & one_of:
                continue
            if by_overwrite:
                given = bool(roles & rules.allow[bit])
            elif rules.everyone_allow & bit:
                given = True
            else:
                given = not rules.everyone_deny & bit and bool(self._everyone & bit or roles & self._base[bit])
            if given:
                return True
        return False

    def _rules_of(self, channel: ChannelView) -> _Rules:
        if channel.id not in self._rules:
            self._rules[channel.id] = self._compile(channel.overwrites)
        return self._rules[channel.id]

    def _compile(self, overwrites: Sequence[OverwriteView]) -> _Rules:
        everyone_allow = everyone_deny = 0
        allow, deny = dict.fromkeys(self._base, 0), dict.fromkeys(self._base, 0)
        for overwrite in overwrites:
            if overwrite.type == "member":
                continue
            if overwrite.id == self._view.id:
                everyone_allow, everyone_deny = overwrite.allow, overwrite.deny
            for bit in self._base:
                role = self._index.get(overwrite.id, 0)
                allow[bit] |= role if overwrite.allow & bit else 0
                deny[bit] |= role if overwrite.deny & bit else 0
        members = {overwrite.id: overwrite for overwrite in overwrites if overwrite.type == "member"}
        return _Rules(everyone_allow, everyone_deny, allow, deny, members)


def _bits(bits: int) -> Iterable[int]:
    return (1 << place for place in range(bits.bit_length()) if bits >> place & 1)


def audience_scope(view: GuildView, destination: int) -> Scope:
    """Return what everybody who could see ``destination`` may read: the scope of a public reply there.

    A private thread's audience is taken to be that of its parent, which is never smaller; it may hold itself, and no
    other private thread is ever in a scope. Age-restricted channels are in it only where the destination is one.
    A destination that is gone has an empty scope. In a voice channel there may be guests, who see nothing else.
    """
    place = view.by_id.get(destination)
    shown_in = view.ruling(place) if place is not None else None
    if shown_in is None:
        return Scope({})
    audience = _Audience(view)
    covered = set()
    for channel in view.channels:
        ruling = view.ruling(channel)
        if shown_in.kind == "voice" and channel.id != destination:
            continue
        if ruling is None or (channel.private and channel.id != destination) or (ruling.nsfw and not shown_in.nsfw):
            continue
        if audience.covers(shown_in, ruling):
            covered.add(channel.id)
    return Scope({view.id: frozenset(covered)} if covered else {})
