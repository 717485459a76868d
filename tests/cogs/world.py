"""A bot with real discord.py objects but no wire: events and interactions go in as payloads, answers are recorded."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from unittest.mock import AsyncMock, create_autospec

import discord
from discord.http import HTTPClient
from discord.webhook.async_ import AsyncWebhookAdapter
from pydantic import SecretStr

from cogs.chat.answer import ChatService
from cogs.discord_app import EXTENSIONS, MnemeBot
from cogs.memory.records import ChannelInfo, IncomingMessage, JsonObject, Reach, Scope, StoredMessage
from cogs.memory.service import MemoryService
from config.settings import Settings

BOT_ID, GUILD_ID, OWNER, ANN, BEN = 900, 1000, 1, 11, 12
BOT_ROLE, MODS = 901, 2000
GENERAL, STAFF, SECRET = 3000, 3001, 4000
VIEW, HISTORY, MANAGE_GUILD = 1 << 10, 1 << 16, 1 << 5
JOINED = "2024-01-01T00:00:00+00:00"
TIME = "2026-01-01T00:00:00+00:00"
_ids = itertools.count(10_000_000)


def user(user_id: int, name: str = "", bot: bool = False) -> JsonObject:
    """Return a user payload."""
    return {"id": str(user_id), "username": name or f"user{user_id}", "discriminator": "0", "avatar": None, "bot": bot}


def member(user_id: int, *roles: int, permissions: int = 0) -> JsonObject:
    """Return a member payload, as an interaction carries it."""
    return {
        "user": user(user_id),
        "roles": [str(role) for role in roles],
        "joined_at": JOINED,
        "flags": 0,
        "permissions": str(permissions),
        "deaf": False,
        "mute": False,
    }


def message(message_id: int, content: str, author: int = ANN, channel: int = GENERAL, **more: Any) -> JsonObject:
    """Return a message payload."""
    return {
        "id": str(message_id),
        "channel_id": str(channel),
        "guild_id": str(GUILD_ID),
        "author": user(author, bot=author == BOT_ID),
        "content": content,
        "timestamp": TIME,
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "type": 0,
        **more,
    }


def role(role_id: int, name: str, permissions: int, **more: Any) -> JsonObject:
    """Return a role payload."""
    plain = {"color": 0, "hoist": False, "mentionable": False, "managed": False, "flags": 0, "position": role_id}
    return {"id": str(role_id), "name": name, "permissions": str(permissions), **plain, **more}


def thread(thread_id: int, name: str, parent: int, private: bool = False, archived: bool = False) -> JsonObject:
    """Return a thread payload."""
    state = {"archived": archived, "auto_archive_duration": 60, "archive_timestamp": TIME, "locked": False}
    return {
        "id": str(thread_id),
        "guild_id": str(GUILD_ID),
        "name": name,
        "parent_id": str(parent),
        "owner_id": str(OWNER),
        "type": 12 if private else 11,
        "message_count": 0,
        "member_count": 0,
        "thread_metadata": state,
    }


def stored(message_id: int, content: str, channel: int = GENERAL) -> StoredMessage:
    """Return what the memory holds of a message."""
    when = discord.utils.parse_time(TIME)
    return StoredMessage(message_id, GUILD_ID, channel, ANN, "Ann", content, when, None, None, channel_name="general")


class FakeMemory:
    """What the cogs ask of the memory service, specced from it, with messages kept in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[int, IncomingMessage] = {}
        self.known: dict[int, ChannelInfo] = {}
        self.seen: dict[int, int] = {}
        self.cursors: dict[int, tuple[int | None, int | None]] = {}
        self.gone: set[int] = set()
        self.rows: dict[int, StoredMessage] = {}
        self.service: Any = create_autospec(MemoryService, instance=True)
        for name in dir(self):
            if not name.startswith("_") and hasattr(MemoryService, name):
                getattr(self.service, name).side_effect = getattr(self, name)
        self.service.reach.return_value = Reach(0, 0, None)
        self.service.is_opted_out.return_value = False
        self.service.is_remembered.return_value = True
        self.service.guild_ids.return_value = []

    async def channels(self, guild_id: int) -> list[ChannelInfo]:
        """Return the recorded channels."""
        return [info for info in self.known.values() if info.guild_id == guild_id]

    async def upsert_channels(self, channels: Sequence[ChannelInfo]) -> None:
        """Record channels."""
        self.known.update((info.id, info) for info in channels)

    async def remember(self, messages: Sequence[IncomingMessage], *, mark_seen: bool = True) -> int:
        """Keep messages, move the watermark."""
        changed = [m for m in messages if m.id not in self.gone and self.kept.get(m.id) != m]
        self.kept.update((m.id, m) for m in changed)
        for m in messages if mark_seen else ():
            self.seen[m.channel_id] = max(m.id, self.seen.get(m.channel_id, 0))
        return len(changed)

    async def forget_messages(self, guild_id: int, message_ids: Sequence[int]) -> int:
        """Drop messages for good."""
        self.gone.update(message_ids)
        return sum(self.kept.pop(i, None) is not None for i in message_ids)

    async def last_seen(self, guild_id: int) -> dict[int, int]:
        """Return the watermarks."""
        return dict(self.seen)

    async def mark_seen(self, channel_id: int, message_id: int) -> None:
        """Move a watermark."""
        self.seen[channel_id] = max(message_id, self.seen.get(channel_id, 0))

    async def stored_versions(self, channel_id: int, first_id: int, last_id: int) -> dict[int, Any]:
        """Return what is kept of a channel between two ids."""
        return {
            m.id: (m.content, m.edited_at)
            for m in self.kept.values()
            if m.channel_id == channel_id and first_id <= m.id <= last_id
        }

    async def backfill_cursor(self, channel_id: int) -> tuple[int | None, int | None]:
        """Return a position."""
        return self.cursors.get(channel_id, (None, None))

    async def set_backfill_cursor(self, channel_id: int, cursor: int | None, until: int | None) -> None:
        """Keep a position."""
        self.cursors[channel_id] = (cursor, until)

    async def messages(self, message_ids: Sequence[int], scope: Scope) -> list[StoredMessage]:
        """Return the rows of a scope."""
        return [self.rows[i] for i in message_ids if i in self.rows and self.rows[i].channel_id in scope.channel_ids]


class World:
    """One guild with an open channel, a staff channel and a private thread, and the bot in it."""

    def __init__(self, monkeypatch: Any) -> None:
        self.memory = FakeMemory()
        self.chat: Any = create_autospec(ChatService, instance=True)
        self.bot = MnemeBot(Settings(discord_token=SecretStr("not-a-real-token")), self.memory.service, self.chat)
        self.http: Any = create_autospec(HTTPClient, instance=True)
        self.state: Any = self.bot._connection
        self.bot.http = self.state.http = self.http
        self.state.user = discord.ClientUser(state=self.state, data=user(BOT_ID, "Mneme", bot=True))  # type: ignore[arg-type]
        self.state.shard_count = 1
        self.history: dict[int, list[JsonObject]] = defaultdict(list)
        self.thread_members: dict[int, set[int]] = defaultdict(set)
        self.http.logs_from.side_effect = self._logs_from
        self.http.get_thread_member.side_effect = self._thread_member
        self.http.get_public_archived_threads.return_value = {"threads": [], "members": [], "has_more": False}
        self.guild = self.add_guild()
        self.answers: list[JsonObject] = []
        world = self

        async def request(_: Any, route: Any, session: Any, **sent: Any) -> Any:
            body = dict(sent.get("payload") or {})
            body["files"] = [(f.filename, f.fp.read()) for f in sent.get("files") or ()]
            world.answers.append({"method": route.verb, "path": route.path, **body})
            if route.path.endswith("/callback"):
                return {"interaction": {"id": "1", "type": 2}, "resource": None}
            return message(next(_ids), "", BOT_ID)

        monkeypatch.setattr(AsyncWebhookAdapter, "request", request)

    async def load(self) -> None:
        """Load the extensions."""
        for extension in EXTENSIONS:
            await self.bot.load_extension(extension)

    def payload(self) -> JsonObject:
        """Return the guild as the gateway tells it."""
        deny, allow = str(VIEW), str(VIEW)
        staff_only = [
            {"id": str(GUILD_ID), "type": 0, "allow": "0", "deny": deny},
            {"id": str(MODS), "type": 0, "allow": allow, "deny": "0"},
            {"id": str(BOT_ROLE), "type": 0, "allow": allow, "deny": "0"},
        ]
        return {
            "id": str(GUILD_ID),
            "name": "Home",
            "owner_id": str(OWNER),
            "roles": [
                role(GUILD_ID, "@everyone", VIEW | HISTORY),
                role(MODS, "mods", 0),
                role(BOT_ROLE, "Mneme", VIEW | HISTORY, managed=True, tags={"bot_id": str(BOT_ID)}),
            ],
            "channels": [
                {"id": str(GENERAL), "name": "general", "type": 0, "position": 0, "permission_overwrites": []},
                {"id": str(STAFF), "name": "staff", "type": 0, "position": 1, "permission_overwrites": staff_only},
            ],
            "threads": [thread(SECRET, "surprise", GENERAL, private=True)],
            "members": [{**member(BOT_ID, BOT_ROLE), "user": user(BOT_ID, "Mneme", bot=True)}],
            "member_count": 4,
            "unavailable": False,
        }

    def add_guild(self) -> discord.Guild:
        """Put the guild into discord.py's state."""
        guild: discord.Guild = self.state._add_guild_from_data(self.payload())
        return guild

    async def _logs_from(
        self, channel_id: int, limit: int, before: int | None = None, after: int | None = None
    ) -> list[JsonObject]:
        """Page through a channel as Discord does: newest first, whatever is asked."""
        found = [m for m in self.history[int(channel_id)] if not before or int(m["id"]) < int(before)]
        found = sorted((m for m in found if not after or int(m["id"]) > int(after)), key=lambda m: int(m["id"]))
        page = found[:limit] if after else found[-limit:]
        return page[::-1]

    async def _thread_member(self, channel_id: int, user_id: int) -> JsonObject:
        if user_id in self.thread_members[int(channel_id)]:
            return {"id": str(channel_id), "user_id": str(user_id), "join_timestamp": JOINED, "flags": 0}
        raise not_found()

    def receive(self, event: str, data: JsonObject) -> None:
        """Let an event of the gateway in."""
        self.state.parsers[event](data)

    async def command(self, name: str, options: Sequence[JsonObject] = (), **who: Any) -> None:
        """Call a slash command: ``recall``, or ``memory profile use`` with its options."""
        parts = name.split(" ")
        inner = list(options)
        for depth, part in reversed(list(enumerate(parts[1:]))):
            inner = [{"name": part, "type": 1 if depth == len(parts) - 2 else 2, "options": inner}]
        data = {"id": "5", "name": parts[0], "type": 1, "options": inner}
        await self._interact({"type": 2, "data": data}, **who)

    async def _interact(self, body: JsonObject, **who: Any) -> None:
        await self.bot.tree._call(self.interaction(body, **who))

    def interaction(
        self, body: JsonObject, by: int = ANN, roles: Sequence[int] = (), permissions: int = 0, channel: int = GENERAL
    ) -> Any:
        """Return an interaction of a member in a channel."""
        data: Any = {
            "id": str(next(_ids)),
            "application_id": str(BOT_ID),
            "token": "token",
            "version": 1,
            "attachment_size_limit": 10_000_000,
            "guild_id": str(GUILD_ID),
            "channel": {"id": str(channel), "type": 0},
            "member": member(by, *roles, permissions=permissions),
            **body,
        }
        return discord.Interaction(data=data, state=self.state)

    def told(self) -> str:
        """Return everything that the person was shown."""
        shown = []
        for answer in self.answers:
            data = answer.get("data") or answer
            embeds = data.get("embeds") or []
            shown += [data.get("content") or "", *(str(embed) for embed in embeds)]
        return "\n".join(part for part in shown if part)

    def private(self) -> bool:
        """Return whether every message of the answer is shown to the asker alone."""
        sent = [a for a in self.answers if a["method"] == "POST"]
        return bool(sent) and all(((a.get("data") or a).get("flags", 0)) & 64 for a in sent)


def not_found() -> discord.NotFound:
    """Return Discord's word for what does not exist."""
    response = AsyncMock(status=404, reason="Not Found")
    return discord.NotFound(response, {"code": 10007, "message": "Unknown"})


def option(name: str, value: Any) -> JsonObject:
    """Return one filled option of a command."""
    return {"name": name, "type": 4 if isinstance(value, int) else 3, "value": value}


def mentions_in(text: str) -> list[str]:
    """Return what Discord would take for a mention."""
    return re.findall(r"<@[!&]?\d+>|@everyone|@here", text)
