"""An interaction from the person's side: what they sent, and what they see of the answer."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cogs.bench.loopback_discord.world import Channel, Payload, Person, snowflake

WAIT = 60.0


@dataclass(eq=False)
class Call:
    """One interaction. ``shown`` are the messages that it produced, the latest version of each."""

    person: Person
    channel: Channel
    payload: Payload
    sent_at: float = field(default_factory=time.monotonic)
    answered_at: float | None = None
    callback: Payload | None = None
    shown: list[Payload] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    expired: bool = False
    parent: Call | None = None

    def touch(self) -> None:
        """Wake those who wait for a change."""
        self.changed.set()
        if self.parent is not None:
            self.parent.touch()

    @property
    def ephemeral(self) -> bool:
        """Whether only the person sees the answer."""
        assert self.callback is not None
        return bool((self.callback.get("data") or {}).get("flags", 0) & 64)

    @property
    def text(self) -> str:
        """All that the person reads: contents, embeds, fields, footers, without marks of bold and escapes."""
        parts: list[str] = []
        for message in self.shown:
            parts.append(message.get("content") or "")
            for embed in message.get("embeds") or []:
                parts += [embed.get("title") or "", embed.get("description") or ""]
                parts += [f"{f['name']}\n{f['value']}" for f in embed.get("fields", [])]
                parts.append((embed.get("footer") or {}).get("text", ""))
        return re.sub(r"\\([^a-zA-Z0-9\s])|\*\*", r"\1", "\n".join(part for part in parts if part))

    async def until(self, holds: Callable[[Call], Any], seconds: float = WAIT) -> Call:
        """Wait until something holds of the call.

        Raises:
            TimeoutError: it did not come to hold; the text says what was shown instead.
        """
        end = time.monotonic() + seconds
        while not holds(self):
            self.changed.clear()
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"after {seconds} s: callback {self.callback}, shown {self.text!r}")
            try:
                await asyncio.wait_for(self.changed.wait(), left)
            except TimeoutError:
                continue
        return self

    async def answer(self, seconds: float = WAIT) -> str:
        """Wait for the first message that the person sees, and return its text."""
        await self.until(lambda call: call.text or call.files, seconds)
        return self.text

    def menu(self, placeholder: str) -> Payload:
        """Return a select menu under the answer."""
        for message in reversed(self.shown):
            for row in message.get("components") or []:
                for item in row.get("components", []):
                    if str(item.get("placeholder", "")).startswith(placeholder):
                        found: Payload = item
                        return found
        raise LookupError(f"there is no menu {placeholder!r} under {self.text!r}")

    def button(self, label: str) -> Payload:
        """Return a button under the answer."""
        for message in reversed(self.shown):
            for row in message.get("components") or []:
                for item in row.get("components", []):
                    if str(item.get("label", "")).startswith(label):
                        found: Payload = item
                        return found
        raise LookupError(f"there is no button {label!r} under {self.text!r}")


def base(person: Person, channel: Channel, application_id: int, kind: int, data: Payload) -> Payload:
    """Return an interaction's payload.

    Args:
        person: who uses the command.
        channel: where.
        application_id: the bot's.
        kind: Discord's type of the interaction: 2 a command, 3 a component, 4 autocompletion, 5 a modal.
        data: what Discord calls ``data``.
    """
    guild = channel.guild
    payload: Payload = {
        "id": str(snowflake()),
        "application_id": str(application_id),
        "type": kind,
        "token": f"token-{snowflake()}",
        "version": 1,
        "channel_id": str(channel.id),
        "channel": channel.payload(),
        "data": data,
        "locale": "en-US",
        "entitlements": [],
        "authorizing_integration_owners": {},
        "context": 1 if guild is None else 0,
        "app_permissions": str((1 << 52) - 1),
        "attachment_size_limit": 10_000_000,
    }
    if guild is None:
        return payload | {"user": person.payload()}
    return payload | {
        "guild_id": str(guild.id),
        "guild_locale": "en-US",
        "guild": {"id": str(guild.id), "locale": "en-US", "features": []},
        "member": guild.member_payload(person, channel),
    }


def command_data(commands: list[Payload], name: str, options: dict[str, Any], focused: str | None = None) -> Payload:
    """Return the data of a slash command, ``memory profile use`` with options, from what the bot registered.

    Raises:
        LookupError: the bot registered no such command or option.
    """
    first, *path = name.split()
    command = next((c for c in commands if c["name"] == first and c.get("type", 1) == 1), None)
    if command is None:
        raise LookupError(f"there is no command /{first}")
    level: list[Payload] = command.get("options", [])
    kinds = []
    for part in path:
        found = next((o for o in level if o["name"] == part and o["type"] in (1, 2)), None)
        if found is None:
            raise LookupError(f"there is no subcommand {part} of /{first}")
        kinds.append(found["type"])
        level = found.get("options", [])
    known = {option["name"]: option["type"] for option in level}
    leaf: list[Payload] = [
        {"name": key, "type": known[key], "value": value, **({"focused": True} if key == focused else {})}
        for key, value in options.items()
    ]
    for part, kind in zip(reversed(path), reversed(kinds), strict=True):
        leaf = [{"name": part, "type": kind, "options": leaf}]
    return {"id": command["id"], "name": first, "type": 1, "options": leaf}
