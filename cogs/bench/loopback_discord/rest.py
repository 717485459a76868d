"""REST v10, as far as a bot that reads, answers and registers commands needs it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from cogs.bench.loopback_discord.calls import Call
from cogs.bench.loopback_discord.gateway import Gateway
from cogs.bench.loopback_discord.world import PUBLIC_THREAD, Channel, Payload, World, moment_of, snowflake

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """An error of the API."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message}


def as_json(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON response; discord.py takes the content type only without a character set."""
    return web.Response(body=json.dumps(data).encode(), status=status, headers=headers, content_type="application/json")


@dataclass(eq=False)
class Fault:
    """What goes wrong for requests that fit: ``times`` of them get ``status``."""

    method: str
    path: str
    status: int
    times: int
    retry_after: float = 0.3
    hits: int = 0

    def fits(self, method: str, path: str) -> bool:
        """Whether it strikes now."""
        return self.times > self.hits and self.method in (method, "*") and re.search(self.path, path) is not None

    def response(self) -> web.Response:
        """Return the failure."""
        self.hits += 1
        if self.status == 429:
            body = {"message": "You are being rate limited.", "retry_after": self.retry_after, "global": False}
            headers = {"Retry-After": str(self.retry_after), "X-RateLimit-Scope": "user", "Via": "1.1 loopback"}
            return as_json(body, status=429, headers=headers)
        return web.Response(status=self.status, text="upstream failed")


@dataclass
class Rest:
    """The routes over one world."""

    world: World
    gateway: Gateway
    token: str
    calls: dict[str, Call] = field(default_factory=dict)
    commands: list[Payload] = field(default_factory=list)
    registrations: int = 0
    faults: list[Fault] = field(default_factory=list)
    sent: list[Payload] = field(default_factory=list)
    requests: list[tuple[float, str, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def application(self) -> web.Application:
        """Return the aiohttp application."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            path = request.path.removeprefix("/api/v10")
            self.requests.append((time.monotonic(), request.method, path))
            for fault in self.faults:
                if fault.fits(request.method, path):
                    return fault.response()
            open_to_all = path.startswith(("/webhooks/", "/interactions/", "/gateway-socket"))
            if not open_to_all and request.headers.get("Authorization") != f"Bot {self.token}":
                return as_json({"code": 0, "message": "401: Unauthorized"}, 401)
            try:
                return await handler(request)
            except Refusal as refusal:
                return as_json(refusal.body, refusal.status)

        app = web.Application(middlewares=[guard], client_max_size=32 * 2**20)
        app.router.add_get("/gateway-socket", self.gateway.handle)
        api = "/api/v10"
        for method, path, handler in (
            ("GET", "/gateway/bot", self.gateway_bot),
            ("GET", "/users/@me", self.me),
            ("POST", "/users/@me/channels", self.open_direct),
            ("GET", "/oauth2/applications/@me", self.about),
            ("GET", "/applications/@me", self.about),
            ("PUT", "/applications/{app}/commands", self.register),
            ("GET", "/channels/{channel}", self.get_channel),
            ("GET", "/channels/{channel}/messages", self.history),
            ("POST", "/channels/{channel}/messages", self.post),
            ("GET", "/channels/{channel}/messages/{message}", self.get_message),
            ("PATCH", "/channels/{channel}/messages/{message}", self.edit),
            ("POST", "/channels/{channel}/typing", self.typing),
            ("GET", "/channels/{channel}/threads/archived/{kind}", self.archived),
            ("GET", "/channels/{channel}/thread-members/{user}", self.thread_member),
            ("GET", "/guilds/{guild}/members/{user}", self.member),
            ("POST", "/interactions/{id}/{token}/callback", self.callback),
            ("POST", "/webhooks/{app}/{token}", self.follow_up),
            ("GET", "/webhooks/{app}/{token}/messages/{message}", self.shown_message),
            ("PATCH", "/webhooks/{app}/{token}/messages/{message}", self.edit_shown),
            ("DELETE", "/webhooks/{app}/{token}/messages/{message}", self.delete_shown),
        ):
            app.router.add_route(method, api + path, handler)
        return app

    # -- the bot itself ------------------------------------------------------------------------------------

    async def gateway_bot(self, _: web.Request) -> web.Response:
        """Say where the gateway is."""
        limit = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
        return as_json({"url": self.gateway.url, "shards": 1, "session_start_limit": limit})

    async def me(self, _: web.Request) -> web.Response:
        """Return the bot's user."""
        return as_json(self.world.bot.payload())

    async def open_direct(self, request: web.Request) -> web.Response:
        """Return the channel of direct messages with somebody; who allows none refuses the message, not this."""
        person = self.world.people[int((await request.json())["recipient_id"])]
        return as_json(self.world.direct(person).payload() | {"recipients": [person.payload()]})

    async def about(self, _: web.Request) -> web.Response:
        """Return the application."""
        bot = self.world.bot
        return as_json(
            {
                "id": str(bot.id),
                "name": bot.name,
                "description": "",
                "icon": None,
                "bot_public": True,
                "bot_require_code_grant": False,
                "verify_key": "0",
                "owner": bot.payload(),
                "team": None,
                "flags": 1 << 19,
            }
        )

    async def register(self, request: web.Request) -> web.Response:
        """Replace the commands."""
        self.registrations += 1
        bot = str(self.world.bot.id)
        given = await request.json()
        more = {"application_id": bot, "version": "1"}
        self.commands = [{"description": "", **command, **more, "id": str(snowflake())} for command in given]
        self.touch()
        return as_json(self.commands)

    # -- channels and messages -----------------------------------------------------------------------------

    def _channel(self, request: web.Request) -> Channel:
        channel = self.world.channels.get(int(request.match_info["channel"]))
        if channel is None:
            raise Refusal(404, 10003, "Unknown Channel")
        return channel

    def _message(self, request: web.Request) -> Payload:
        message = self._channel(request).messages.get(int(request.match_info["message"]))
        if message is None:
            raise Refusal(404, 10008, "Unknown Message")
        return message

    async def get_channel(self, request: web.Request) -> web.Response:
        """Return a channel."""
        return as_json(self._channel(request).payload())

    async def get_message(self, request: web.Request) -> web.Response:
        """Return a message."""
        return as_json(self._message(request))

    async def history(self, request: web.Request) -> web.Response:
        """Return a page, newest first."""
        messages = self._channel(request).messages
        limit = int(request.query.get("limit", 50))
        assert 1 <= limit <= 100
        ids = sorted(messages, reverse=True)
        if "before" in request.query:
            ids = [i for i in ids if i < int(request.query["before"])][:limit]
        elif "after" in request.query:
            ids = [i for i in ids if i > int(request.query["after"])][-limit:]
        else:
            ids = ids[:limit]
        return as_json([messages[i] for i in ids])

    async def post(self, request: web.Request) -> web.Response:
        """Take in what the bot says."""
        channel = self._channel(request)
        body, _ = await read_body(request)
        reference = body.get("message_reference") or {}
        reply_to = int(reference["message_id"]) if reference else None
        if reply_to is not None and reply_to not in channel.messages:
            raise Refusal(400, 50035, "Invalid Form Body: unknown message_reference")
        self.sent.append(body)
        extra = {key: body[key] for key in ("embeds", "components", "flags") if key in body}
        message = self.world.write(self.world.bot, channel, body.get("content") or "", reply_to=reply_to, **extra)
        await self.gateway.dispatch("MESSAGE_CREATE", message)
        self.touch()
        return as_json(message)

    async def edit(self, request: web.Request) -> web.Response:
        """Change a message of the bot's."""
        message = self._message(request)
        body, _ = await read_body(request)
        if message["author"]["id"] != str(self.world.bot.id):
            raise Refusal(403, 50005, "Cannot edit a message authored by another user")
        self.sent.append(body)
        message |= {key: body[key] for key in ("content", "embeds", "components", "flags") if key in body}
        message["edited_timestamp"] = moment_of(snowflake())
        await self.gateway.dispatch("MESSAGE_UPDATE", message)
        self.touch()
        return as_json(message)

    async def typing(self, _: web.Request) -> web.Response:
        """Show that the bot types."""
        return web.Response(status=204)

    async def archived(self, _: web.Request) -> web.Response:
        """Return no archived threads: the world keeps all of them open."""
        return as_json({"threads": [], "members": [], "has_more": False})

    async def thread_member(self, request: web.Request) -> web.Response:
        """Tell whether somebody is in a thread."""
        channel, user = self._channel(request), int(request.match_info["user"])
        if user not in channel.members and channel.type != PUBLIC_THREAD:
            raise Refusal(404, 10013, "Unknown User")
        return as_json({"id": str(channel.id), "user_id": str(user), "flags": 0})

    async def member(self, request: web.Request) -> web.Response:
        """Return a member."""
        guild = self.world.guilds.get(int(request.match_info["guild"]))
        person = self.world.people.get(int(request.match_info["user"]))
        if guild is None or person is None or guild.id not in person.roles:
            raise Refusal(404, 10007, "Unknown Member")
        return as_json(guild.member_payload(person))

    # -- interactions --------------------------------------------------------------------------------------

    def _call(self, request: web.Request) -> Call:
        call = self.calls.get(request.match_info["token"])
        if call is None or call.expired:
            raise Refusal(404, 10062, "Unknown interaction")
        return call

    async def callback(self, request: web.Request) -> web.Response:
        """Take in the first answer to an interaction."""
        call = self._call(request)
        body, files = await read_body(request)
        if call.callback is not None:
            raise Refusal(400, 40060, "Interaction has already been acknowledged.")
        call.callback, call.answered_at = body, time.monotonic()
        if body["type"] == 4:
            self._show(call, body["data"], files)
        elif body["type"] == 7 and call.parent is not None:
            call.parent.shown[-1] |= body["data"]
        call.touch()
        resource = {"type": body["type"], "message": call.shown[-1] if call.shown else None}
        interaction = {"id": call.payload["id"], "type": call.payload["type"]}
        return as_json({"interaction": interaction, "resource": resource})

    def _show(self, call: Call, body: Payload, files: list[bytes]) -> Payload:
        message = self.world.write(self.world.bot, Channel(call.channel.guild, ""), body.get("content") or "")
        message |= {key: body[key] for key in ("embeds", "components", "flags") if key in body}
        message["channel_id"] = str(call.channel.id)
        call.shown.append(message)
        call.files += files
        return message

    async def follow_up(self, request: web.Request) -> web.Response:
        """Take in a further message."""
        call = self._call(request)
        if call.callback is None:
            raise Refusal(404, 10015, "Unknown Webhook")
        body, files = await read_body(request)
        message = self._show(call, body, files)
        call.touch()
        return as_json(message)

    def _shown(self, call: Call, message: str) -> Payload:
        holder = call if call.shown or call.parent is None else call.parent
        found = holder.shown[:1] if message == "@original" else [m for m in holder.shown if m["id"] == message]
        if not found:
            raise Refusal(404, 10008, "Unknown Message")
        return found[0]

    async def shown_message(self, request: web.Request) -> web.Response:
        """Return a message of an interaction."""
        return as_json(self._shown(self._call(request), request.match_info["message"]))

    async def edit_shown(self, request: web.Request) -> web.Response:
        """Change a message of an interaction; a deferred answer comes into being by it."""
        call = self._call(request)
        body, files = await read_body(request)
        name = request.match_info["message"]
        if name == "@original" and not call.shown and call.parent is None:
            message = self._show(call, body, files)
        else:
            message = self._shown(call, name)
            message |= {key: body[key] for key in ("content", "embeds", "components") if key in body}
        call.touch()
        return as_json(message)

    async def delete_shown(self, request: web.Request) -> web.Response:
        """Take a message of an interaction away."""
        call = self._call(request)
        call.shown.remove(self._shown(call, request.match_info["message"]))
        call.touch()
        return web.Response(status=204)

    def touch(self) -> None:
        """Wake those who wait for something to be said or registered."""
        self.changed.set()


async def read_body(request: web.Request) -> tuple[Payload, list[bytes]]:
    """Return the JSON body and the files of a request."""
    if request.content_type != "multipart/form-data":
        return (await request.json() if request.can_read_body else {}), []
    body: Payload = {}
    files: list[bytes] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        data = await part.read()
        if part.name == "payload_json":
            body = json.loads(data)
        else:
            files.append(bytes(data))
    return body, files
