"""Random guilds, and an oracle that asks discord.py itself: real Guild, Member, channel and Thread objects."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import discord

from cogs.memory.records import JsonObject

VIEW, HISTORY, CONNECT, MANAGE_THREADS, ADMIN = 1 << 10, 1 << 16, 1 << 20, 1 << 34, 1 << 3
CHANNEL_TYPES = {"text": 0, "voice": 2, "forum": 15}
GUILD_ID, OWNER_ID = 1000, 1
JOINED = "2024-01-01T00:00:00+00:00"
STATE: Any = discord.Client(intents=discord.Intents.none())._connection


def random_bits(rng: random.Random, share: float) -> int:
    """Return a mix of the bits that matter for reading, each present with probability ``share``."""
    return sum(bit for bit in (VIEW, HISTORY, CONNECT, MANAGE_THREADS) if rng.random() < share)


def random_guild(rng: random.Random, roles: int = 4, channels: int = 6, members: int = 6) -> JsonObject:
    """Return a guild in the format of ``guild_view_from_json`` whose rules overlap, contradict and leave gaps."""
    role_ids = [2000 + place for place in range(rng.randint(0, roles))]
    member_ids = [OWNER_ID + place for place in range(rng.randint(1, members))]
    everyone = VIEW | HISTORY | CONNECT if rng.random() < 0.6 else random_bits(rng, 0.5)
    guild: JsonObject = {
        "id": str(GUILD_ID),
        "name": "guild",
        "owner_id": str(OWNER_ID),
        "roles": [{"id": str(GUILD_ID), "name": "@everyone", "permissions": str(everyone)}],
        "members": [],
        "channels": [],
    }
    for role in role_ids:
        bits = random_bits(rng, 0.35) | (ADMIN if rng.random() < 0.08 else 0)
        guild["roles"].append({"id": str(role), "name": f"role {role}", "permissions": str(bits)})
    for member in member_ids:
        held = [str(role) for role in role_ids if rng.random() < 0.4]
        guild["members"].append({"id": str(member), "name": f"member {member}", "roles": held})
    targets = [("role", GUILD_ID), *(("role", role) for role in role_ids), *(("member", m) for m in member_ids)]
    for place in range(rng.randint(1, channels)):
        guild["channels"].append(_random_channel(rng, 3000 + place, targets))
    for place in range(rng.randint(0, 3)):
        guild["channels"].append(_random_thread(rng, 4000 + place, guild["channels"], member_ids))
    return guild


def _random_channel(rng: random.Random, channel_id: int, targets: list[tuple[str, int]]) -> JsonObject:
    overwrites = []
    for kind, target in targets:
        if rng.random() < (0.35 if kind == "role" else 0.15):
            allow, deny = random_bits(rng, 0.35), random_bits(rng, 0.35)
            overwrites.append({"id": str(target), "type": kind, "allow": str(allow), "deny": str(deny & ~allow)})
    rng.shuffle(overwrites)
    return {
        "id": str(channel_id),
        "name": f"channel-{channel_id}",
        "kind": rng.choice(["text", "text", "text", "voice", "forum"]),
        "parent_id": None,
        "nsfw": rng.random() < 0.2,
        "overwrites": overwrites,
    }


def _random_thread(rng: random.Random, thread_id: int, channels: list[JsonObject], members: list[int]) -> JsonObject:
    parent = rng.choice([channel for channel in channels if channel["kind"] != "thread"])
    return {
        "id": str(thread_id),
        "name": f"thread-{thread_id}",
        "kind": "thread",
        "parent_id": parent["id"],
        "private": rng.random() < 0.5,
        "members": [str(member) for member in members if rng.random() < 0.4],
    }


@dataclass
class Oracle:
    """What discord.py says about the same guild."""

    json: JsonObject

    def __post_init__(self) -> None:
        payload: Any = {
            "id": self.json["id"],
            "name": self.json["name"],
            "owner_id": self.json["owner_id"],
            "roles": [_role(role, place) for place, role in enumerate(self.json["roles"])],
            "channels": [_channel(c) for c in self.json["channels"] if c["kind"] != "thread"],
            "threads": [_thread(c) for c in self.json["channels"] if c["kind"] == "thread"],
            "member_count": len(self.json["members"]),
        }
        self.guild = discord.Guild(data=payload, state=STATE)
        self.thread_members = {int(c["id"]): set(map(int, c.get("members", ()))) for c in self.json["channels"]}
        self.members = [self.member(int(m["id"]), map(int, m["roles"])) for m in self.json["members"]]

    def member(self, member_id: int, roles: Iterable[int]) -> discord.Member:
        """Return a member of the guild with these roles, who may or may not be in its list."""
        user = {"id": str(member_id), "username": f"member {member_id}", "discriminator": "0", "avatar": None}
        data: Any = {"user": user, "roles": [str(role) for role in roles], "joined_at": JOINED, "flags": 0}
        return discord.Member(data=data, guild=self.guild, state=STATE)

    def possible_members(self) -> Iterator[discord.Member]:
        """Every member that this guild could have: each set of roles, with each identity that an overwrite names."""
        roles = [int(role["id"]) for role in self.json["roles"][1:]]
        named = {
            int(overwrite["id"])
            for channel in self.json["channels"]
            for overwrite in channel.get("overwrites", ())
            if overwrite["type"] == "member"
        }
        for identity in sorted({999_999, *named}):
            for size in range(len(roles) + 1):
                for held in itertools.combinations(roles, size):
                    yield self.member(identity, held)

    def channel(self, channel_id: int) -> Any:
        """Return discord.py's channel or thread."""
        found = self.guild.get_channel_or_thread(channel_id)
        assert found is not None
        return found

    def sees(self, member: discord.Member, channel_id: int) -> bool:
        """Return whether the member sees what is said there from now on."""
        return bool(self.channel(channel_id).permissions_for(member).view_channel)

    def reads(self, member: discord.Member, channel_id: int) -> bool:
        """Return whether the member may read what was said there."""
        channel = self.channel(channel_id)
        granted = channel.permissions_for(member)
        if not (granted.view_channel and granted.read_message_history):
            return False
        ruling = channel.parent if isinstance(channel, discord.Thread) else channel
        if isinstance(ruling, discord.VoiceChannel) and not ruling.permissions_for(member).connect:
            return False
        if isinstance(channel, discord.Thread) and channel.is_private():
            return member.id in self.thread_members[channel_id] or bool(granted.manage_threads)
        return True

    def age_restricted(self, channel_id: int) -> bool:
        """Return discord.py's word on the channel, or on the thread's parent."""
        return bool(self.channel(channel_id).is_nsfw())


def _role(role: JsonObject, place: int) -> JsonObject:
    return {**role, "position": place, "color": 0, "hoist": False, "managed": False, "mentionable": False, "flags": 0}


def _channel(channel: JsonObject) -> JsonObject:
    overwrites = [{**o, "type": 0 if o["type"] == "role" else 1} for o in channel["overwrites"]]
    common = {"id": channel["id"], "name": channel["name"], "position": 0, "nsfw": channel["nsfw"], "parent_id": None}
    voice: JsonObject = {"bitrate": 64000, "user_limit": 0} if channel["kind"] == "voice" else {"available_tags": []}
    return {**common, **voice, "type": CHANNEL_TYPES[channel["kind"]], "permission_overwrites": overwrites}


def _thread(thread: JsonObject) -> JsonObject:
    meta = {"archived": False, "auto_archive_duration": 60, "archive_timestamp": JOINED, "locked": False}
    return {
        "id": thread["id"],
        "name": thread["name"],
        "parent_id": thread["parent_id"],
        "owner_id": str(OWNER_ID),
        "type": 12 if thread["private"] else 11,
        "message_count": 0,
        "member_count": 0,
        "thread_metadata": meta,
    }
