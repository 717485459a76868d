"""The state of the loopback Discord: people, guilds, channels, messages, as the payloads that the API shows."""

from __future__ import annotations

import datetime as dt
import itertools
import re
import time
from dataclasses import dataclass, field
from typing import Any

Payload = dict[str, Any]
EPOCH_MS = 1_420_070_400_000
VIEW, HISTORY, SEND = 1 << 10, 1 << 16, 1 << 11
ADMINISTRATOR, MANAGE_GUILD, MANAGE_THREADS = 1 << 3, 1 << 5, 1 << 34
EVERY = (1 << 52) - 1
GUEST = 1 << 4
TEXT, DIRECT, CATEGORY, PUBLIC_THREAD, PRIVATE_THREAD = 0, 1, 4, 11, 12
_numbers = itertools.count(1)


def snowflake(moment: dt.datetime | None = None) -> int:
    """Return a new id, of now or of a moment; ids of one moment grow."""
    ms = int((time.time() if moment is None else moment.timestamp()) * 1000)
    return ((ms - EPOCH_MS) << 22) | (next(_numbers) & 0x3FFFFF)


def moment_of(snowflake_id: int) -> str:
    """Return the time of an id as the API writes it."""
    return dt.datetime.fromtimestamp(((snowflake_id >> 22) + EPOCH_MS) / 1000, tz=dt.UTC).isoformat()


@dataclass(eq=False)
class Person:
    """A user; ``roles`` are those in each guild."""

    name: str
    id: int = field(default_factory=snowflake)
    bot: bool = False
    roles: dict[int, set[int]] = field(default_factory=dict)

    def payload(self) -> Payload:
        """Return the user object."""
        return {
            "id": str(self.id),
            "username": self.name,
            "global_name": self.name,
            "discriminator": "0",
            "avatar": None,
            "bot": self.bot,
        }


@dataclass(eq=False)
class Channel:
    """A channel or thread and its messages by id."""

    guild: Guild | None
    name: str
    type: int = TEXT
    id: int = field(default_factory=snowflake)
    parent: Channel | None = None
    nsfw: bool = False
    overwrites: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    members: set[int] = field(default_factory=set)
    messages: dict[int, Payload] = field(default_factory=dict)

    @property
    def is_thread(self) -> bool:
        """Whether it is a thread."""
        return self.type in (PUBLIC_THREAD, PRIVATE_THREAD)

    def deny(self, target: int, bits: int = VIEW, *, member: bool = False) -> Channel:
        """Take permissions away from a role or member."""
        allow, denied, _ = self.overwrites.get(target, (0, 0, 0))
        self.overwrites[target] = (allow & ~bits, denied | bits, int(member))
        return self

    def allow(self, target: int, bits: int = VIEW, *, member: bool = False) -> Channel:
        """Give permissions to a role or member."""
        allow, denied, _ = self.overwrites.get(target, (0, 0, 0))
        self.overwrites[target] = (allow | bits, denied & ~bits, int(member))
        return self

    def payload(self) -> Payload:
        """Return the channel object."""
        shown: Payload = {
            "id": str(self.id),
            "type": self.type,
            "name": self.name,
            "last_message_id": str(max(self.messages)) if self.messages else None,
            "rate_limit_per_user": 0,
        }
        if self.guild is not None:
            shown |= {"guild_id": str(self.guild.id), "parent_id": None if self.parent is None else str(self.parent.id)}
        if self.is_thread:
            return shown | {
                "owner_id": "1",
                "message_count": len(self.messages),
                "member_count": len(self.members),
                "thread_metadata": {
                    "archived": False,
                    "auto_archive_duration": 1440,
                    "archive_timestamp": moment_of(self.id),
                    "locked": False,
                    "invitable": True,
                },
            }
        overwrites = [
            {"id": str(target), "type": kind, "allow": str(allow), "deny": str(deny)}
            for target, (allow, deny, kind) in self.overwrites.items()
        ]
        return shown | {
            "position": 0,
            "nsfw": self.nsfw,
            "topic": None,
            "permission_overwrites": overwrites,
        }


@dataclass(eq=False)
class Guild:
    """A server. The role with its own id is @everyone."""

    name: str
    owner: Person
    id: int = field(default_factory=snowflake)
    roles: dict[int, tuple[str, int]] = field(default_factory=dict)
    channels: list[Channel] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    guests: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.roles[self.id] = ("@everyone", VIEW | HISTORY | SEND)

    def permissions(self, person: Person, channel: Channel | None = None) -> int:
        """Return a member's permissions, in a channel where one is given, in the order that Discord documents."""
        bits = self.roles[self.id][1]
        roles = person.roles.get(self.id, set())
        for role in roles:
            bits |= self.roles[role][1]
        if person is self.owner or bits & ADMINISTRATOR:
            return EVERY
        if channel is not None and channel.is_thread:
            channel = channel.parent
        if channel is None:
            return bits
        allow, deny, _ = channel.overwrites.get(self.id, (0, 0, 0))
        bits = bits & ~deny | allow
        grants = [channel.overwrites[role] for role in roles if role in channel.overwrites]
        for _, deny, _ in grants:
            bits &= ~deny
        for allow, _, _ in grants:
            bits |= allow
        allow, deny, _ = channel.overwrites.get(person.id, (0, 0, 0))
        return bits & ~deny | allow

    def member_payload(self, person: Person, channel: Channel | None = None) -> Payload:
        """Return the member object, with permissions as an interaction carries them where a channel is given."""
        shown: Payload = {
            "user": person.payload(),
            "nick": None,
            "roles": [str(role) for role in sorted(person.roles.get(self.id, set()))],
            "joined_at": "2024-01-01T00:00:00+00:00",
            "deaf": False,
            "mute": False,
            "flags": GUEST if person.id in self.guests else 0,
        }
        return shown if channel is None else shown | {"permissions": str(self.permissions(person, channel))}

    def payload(self, bot: Person) -> Payload:
        """Return what GUILD_CREATE carries."""
        return {
            "id": str(self.id),
            "name": self.name,
            "owner_id": str(self.owner.id),
            "roles": [
                {
                    "id": str(role),
                    "name": name,
                    "permissions": str(bits),
                    "position": place,
                    "color": 0,
                    "hoist": False,
                    "managed": False,
                    "mentionable": False,
                    "flags": 0,
                }
                for place, (role, (name, bits)) in enumerate(self.roles.items())
            ],
            "channels": [c.payload() for c in self.channels if not c.is_thread],
            "threads": [c.payload() for c in self.channels if c.is_thread],
            "members": [self.member_payload(bot)],
            "member_count": len(self.people) + 1,
            "emojis": [],
            "stickers": [],
            "features": [],
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "unavailable": False,
            "large": False,
            "joined_at": "2024-01-01T00:00:00+00:00",
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "premium_progress_bar_enabled": False,
            "preferred_locale": "en-US",
            "afk_timeout": 300,
            "system_channel_flags": 0,
        }


class World:
    """Everybody and everything, without a wire."""

    def __init__(self) -> None:
        self.bot = Person("Mneme", bot=True)
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}
        self.people: dict[int, Person] = {self.bot.id: self.bot}

    def person(self, name: str) -> Person:
        """Make a user."""
        person = Person(name)
        self.people[person.id] = person
        return person

    def guild(self, name: str, owner: Person, *people: Person) -> Guild:
        """Make a server with its members."""
        guild = Guild(name, owner, people=[owner, *people])
        for person in (owner, *people, self.bot):
            person.roles[guild.id] = set()
        self.guilds[guild.id] = guild
        return guild

    def role(self, guild: Guild, name: str, bits: int, *people: Person) -> int:
        """Make a role and give it to people."""
        role = snowflake()
        guild.roles[role] = (name, bits)
        for person in people:
            person.roles[guild.id].add(role)
        return role

    def channel(self, guild: Guild, name: str, **more: Any) -> Channel:
        """Make a channel or thread."""
        channel = Channel(guild, name, **more)
        guild.channels.append(channel)
        self.channels[channel.id] = channel
        return channel

    def direct(self, person: Person) -> Channel:
        """Return the channel of direct messages between a person and the bot."""
        for channel in self.channels.values():
            if channel.type == DIRECT and person.id in channel.members:
                return channel
        channel = Channel(None, "", DIRECT, members={person.id})
        self.channels[channel.id] = channel
        return channel

    def write(
        self,
        author: Person,
        channel: Channel,
        content: str,
        *,
        when: dt.datetime | None = None,
        reply_to: int | None = None,
        **more: Any,
    ) -> Payload:
        """Store a message and return it; nobody is told.

        Args:
            author: who wrote it.
            channel: where.
            content: its text.
            when: its time, now by default; its id follows from it.
            reply_to: the id of the message that it answers.
        """
        number = snowflake(when)
        mentioned = [self.people[int(i)] for i in re.findall(r"<@!?(\d+)>", content) if int(i) in self.people]
        message: Payload = {
            "id": str(number),
            "channel_id": str(channel.id),
            "author": author.payload(),
            "content": content,
            "timestamp": moment_of(number),
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [person.payload() for person in mentioned],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "components": [],
            "pinned": False,
            "type": 19 if reply_to else 0,
            "flags": 0,
            **more,
        }
        if channel.guild is not None:
            message["guild_id"] = str(channel.guild.id)
        if reply_to is not None:
            message["message_reference"] = {
                "message_id": str(reply_to),
                "channel_id": str(channel.id),
                **({"guild_id": str(channel.guild.id)} if channel.guild else {}),
            }
            message["referenced_message"] = channel.messages.get(reply_to)
        channel.messages[number] = message
        return message
