"""The loopback Discord as a test drives it: people talk, click and type; events go out; faults are injected."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from cogs.bench.loopback_discord.calls import WAIT, Call, base, command_data
from cogs.bench.loopback_discord.gateway import Gateway
from cogs.bench.loopback_discord.rest import Fault, Rest
from cogs.bench.loopback_discord.world import Channel, Guild, Payload, Person, World, moment_of, snowflake

TOKEN = "loopback.token.0123456789"  # noqa: S105 - it opens nothing


class DiscordServer:
    """One server on a free port of the loopback interface."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.world = World()
        self.gateway = Gateway(self.world, token)
        self.rest = Rest(self.world, self.gateway, token)
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> DiscordServer:
        """Begin to listen."""
        self._runner = web.AppRunner(self.rest.application(), access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        self.gateway.url = f"ws://127.0.0.1:{port}/gateway-socket"
        return self

    async def stop(self) -> None:
        """Stop listening and cut what is connected."""
        await self.gateway.drop()
        if self._runner is not None:
            await self._runner.cleanup()

    # -- people --------------------------------------------------------------------------------------------

    async def say(self, author: Person, channel: Channel, content: str, **more: Any) -> int:
        """Let somebody write a message; returns its id."""
        message = self.world.write(author, channel, content, **more)
        await self.announce(author, channel, message)
        return int(message["id"])

    async def announce(self, author: Person, channel: Channel, message: Payload) -> None:
        """Send the event of a message, perhaps once more."""
        told = dict(message)
        if channel.guild is not None:
            member = channel.guild.member_payload(author)
            del member["user"]
            told["member"] = member
        await self.gateway.dispatch("MESSAGE_CREATE", told)

    async def edit(self, channel: Channel, message_id: int, content: str) -> None:
        """Let the author change a message."""
        self.change(channel, message_id, content)
        await self.gateway.dispatch("MESSAGE_UPDATE", channel.messages[message_id])

    def change(self, channel: Channel, message_id: int, content: str) -> None:
        """Change a message without telling anybody."""
        message = channel.messages[message_id]
        message["content"], message["edited_timestamp"] = content, moment_of(snowflake())

    async def delete(self, channel: Channel, *message_ids: int) -> None:
        """Delete one message, or several at once."""
        for message_id in message_ids:
            channel.messages.pop(message_id, None)
        place = {"channel_id": str(channel.id), "guild_id": str(channel.guild.id) if channel.guild else None}
        if len(message_ids) == 1:
            await self.gateway.dispatch("MESSAGE_DELETE", {"id": str(message_ids[0]), **place})
        else:
            await self.gateway.dispatch("MESSAGE_DELETE_BULK", {"ids": [str(i) for i in message_ids], **place})

    async def update_channel(self, channel: Channel) -> None:
        """Tell that a channel has changed, for instance its overwrites."""
        name = "THREAD_UPDATE" if channel.is_thread else "CHANNEL_UPDATE"
        await self.gateway.dispatch(name, channel.payload())

    async def new_channel(self, guild: Guild, name: str, **more: Any) -> Channel:
        """Make a channel or thread while the bot is connected."""
        channel = self.world.channel(guild, name, **more)
        event = "THREAD_CREATE" if channel.is_thread else "CHANNEL_CREATE"
        await self.gateway.dispatch(
            event, {**channel.payload(), **({"newly_created": True} if channel.is_thread else {})}
        )
        return channel

    async def delete_channel(self, channel: Channel) -> None:
        """Delete a channel or thread."""
        assert channel.guild is not None
        channel.guild.channels.remove(channel)
        del self.world.channels[channel.id]
        await self.gateway.dispatch("THREAD_DELETE" if channel.is_thread else "CHANNEL_DELETE", channel.payload())

    # -- interactions --------------------------------------------------------------------------------------

    async def _send(self, call: Call) -> Call:
        self.rest.calls[call.payload["token"]] = call
        await self.gateway.dispatch("INTERACTION_CREATE", call.payload)
        return call

    async def slash(self, person: Person, channel: Channel, command: str, /, **options: Any) -> Call:
        """Let somebody use a command, whatever their client would allow."""
        data = command_data(self.rest.commands, command, options)
        return await self._send(Call(person, channel, base(person, channel, self.world.bot.id, 2, data)))

    async def complete(self, person: Person, channel: Channel, command: str, option: str, typed: str) -> list[Payload]:
        """Return what a person is offered while they type.

        Args:
            person: who types.
            channel: where.
            command: the command's full name.
            option: the option that is being typed.
            typed: what stands in it so far.
        """
        data = command_data(self.rest.commands, command, {option: typed}, focused=option)
        call = await self._send(Call(person, channel, base(person, channel, self.world.bot.id, 4, data)))
        await call.until(lambda c: c.callback)
        assert call.callback is not None
        found: list[Payload] = call.callback["data"]["choices"]
        return found

    async def menu(self, person: Person, channel: Channel, name: str, message_id: int) -> Call:
        """Let somebody use an entry of a message's menu."""
        command = next(c for c in self.rest.commands if c["name"] == name and c.get("type") == 3)
        data = {
            "id": command["id"],
            "name": name,
            "type": 3,
            "target_id": str(message_id),
            "resolved": {"messages": {str(message_id): channel.messages[message_id]}},
        }
        return await self._send(Call(person, channel, base(person, channel, self.world.bot.id, 2, data)))

    async def click(self, call: Call, label: str, person: Person | None = None) -> Call:
        """Press a button under an answer."""
        button = call.button(label)
        who = person or call.person
        data = {"custom_id": button["custom_id"], "component_type": 2}
        payload = base(who, call.channel, self.world.bot.id, 3, data) | {"message": call.shown[-1]}
        return await self._send(Call(who, call.channel, payload, parent=call))

    async def choose(self, call: Call, placeholder: str, place: int = 0, person: Person | None = None) -> Call:
        """Choose an entry of a select menu under an answer, by its place."""
        menu = call.menu(placeholder)
        who = person or call.person
        values = [menu["options"][place]["value"]]
        data = {"custom_id": menu["custom_id"], "component_type": 3, "values": values}
        payload = base(who, call.channel, self.world.bot.id, 3, data) | {"message": call.shown[-1]}
        # What a menu brings is a message of its own, and belongs to no earlier answer.
        return await self._send(Call(who, call.channel, payload))

    # -- waiting and faults --------------------------------------------------------------------------------

    def fail(self, method: str, path: str, status: int, times: int = 1, retry_after: float = 0.3) -> Fault:
        """Let the next requests that fit fail.

        Args:
            method: the HTTP method, ``*`` for any.
            path: a regular expression that the path must match.
            status: the HTTP status to answer with.
            times: how many requests fail.
            retry_after: seconds, told with the status 429.
        """
        fault = Fault(method, path, status, times, retry_after)
        self.rest.faults.append(fault)
        return fault

    async def until(self, holds: Callable[[], Any], what: str, seconds: float = WAIT) -> Any:
        """Wait until something holds, and return it.

        Raises:
            TimeoutError: it did not; the text says what was waited for.
        """
        end = time.monotonic() + seconds
        while not (found := holds()):
            if time.monotonic() > end:
                raise TimeoutError(f"after {seconds} s there is still not: {what}")
            await asyncio.sleep(0.02)
        return found

    def answers_to(self, channel: Channel, message_id: int) -> list[Payload]:
        """Return the bot's messages that reply to one."""
        return [
            message
            for message in channel.messages.values()
            if message["author"]["id"] == str(self.world.bot.id)
            and (message.get("message_reference") or {}).get("message_id") == str(message_id)
        ]

    async def reply_to(self, channel: Channel, message_id: int, contains: str = "", seconds: float = WAIT) -> str:
        """Wait for the bot's reply to a message and return its text."""
        reply = await self.until(
            lambda: [m for m in self.answers_to(channel, message_id) if contains in m["content"]],
            f"a reply with {contains!r}; there is {[m['content'] for m in self.answers_to(channel, message_id)]}",
            seconds,
        )
        return str(reply[-1]["content"])


def days_ago(days: float) -> dt.datetime:
    """Return a moment in the past."""
    return dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
