"""The gateway: hello, identify, ready, events in sequence, heartbeats, resume, and the ways in which it fails."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from cogs.bench.loopback_discord.world import Payload, World

HEARTBEAT_MS = 1000
MESSAGE_CONTENT = 1 << 15
UNKNOWN_TOKEN, DISALLOWED_INTENTS = 4004, 4014


@dataclass(eq=False)
class Session:
    """One session, which may outlive its connection."""

    id: str
    sequence: int = 0
    events: list[Payload] = field(default_factory=list)
    socket: Socket | None = None


@dataclass(eq=False)
class Socket:
    """One connection, compressed as the client asked for."""

    ws: web.WebSocketResponse
    compressor: zlib._Compress | None
    beats: list[float] = field(default_factory=list)

    async def send(self, payload: Payload) -> None:
        """Send a payload; a connection that is gone gets nothing."""
        text = json.dumps(payload)
        if self.ws.closed:
            return
        if self.compressor is None:
            await self.ws.send_str(text)
        else:
            data = self.compressor.compress(text.encode()) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
            await self.ws.send_bytes(data)


class Gateway:
    """Accepts connections and tells every session what happens."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self.token = token
        self.content_allowed = True
        self.sessions: dict[str, Session] = {}
        self.ready = asyncio.Event()
        self.identified = 0
        self.resumed = 0
        self.beats: list[float] = []
        self.url = ""
        self.refusing = False

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection."""
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        compressed = request.query.get("compress") == "zlib-stream"
        socket = Socket(ws, zlib.compressobj() if compressed else None)
        if self.refusing:
            await ws.close(code=1013)
            return ws
        await socket.send({"op": 10, "d": {"heartbeat_interval": HEARTBEAT_MS}, "s": None, "t": None})
        session: Session | None = None
        try:
            async for message in ws:
                if message.type is not WSMsgType.TEXT:
                    continue
                payload = json.loads(message.data)
                if payload["op"] == 1:
                    now = time.monotonic()
                    socket.beats.append(now)
                    self.beats.append(now)
                    await socket.send({"op": 11, "d": None, "s": None, "t": None})
                elif payload["op"] == 2:
                    session = await self._identify(socket, payload["d"])
                elif payload["op"] == 6:
                    session = await self._resume(socket, payload["d"])
        finally:
            if session is not None and session.socket is socket:
                session.socket = None
        return ws

    async def _identify(self, socket: Socket, data: Payload) -> Session | None:
        self.identified += 1
        if data["token"] != self.token:
            await socket.ws.close(code=UNKNOWN_TOKEN)
            return None
        if data["intents"] & MESSAGE_CONTENT and not self.content_allowed:
            await socket.ws.close(code=DISALLOWED_INTENTS)
            return None
        session = Session(f"session-{len(self.sessions)}", socket=socket)
        self.sessions[session.id] = session
        bot = self.world.bot
        await self._tell(
            session,
            "READY",
            {
                "v": 10,
                "user": bot.payload(),
                "guilds": [{"id": str(g), "unavailable": True} for g in self.world.guilds],
                "session_id": session.id,
                "resume_gateway_url": self.url,
                "application": {"id": str(bot.id), "flags": 1 << 19},
                "shard": data.get("shard", [0, 1]),
                "private_channels": [],
            },
        )
        for guild in self.world.guilds.values():
            await self._tell(session, "GUILD_CREATE", guild.payload(bot))
        self.ready.set()
        return session

    async def _resume(self, socket: Socket, data: Payload) -> Session | None:
        session = self.sessions.get(data["session_id"])
        if session is None or data["token"] != self.token:
            await socket.send({"op": 9, "d": False, "s": None, "t": None})
            return None
        self.resumed += 1
        session.socket = socket
        for event in list(session.events):
            if event["s"] > data["seq"]:
                await socket.send(event)
        await self._tell(session, "RESUMED", {})
        return session

    async def _tell(self, session: Session, name: str, data: Payload) -> None:
        session.sequence += 1
        event = {"op": 0, "t": name, "s": session.sequence, "d": data}
        session.events.append(event)
        if session.socket is not None:
            await session.socket.send(event)

    async def dispatch(self, name: str, data: Payload) -> None:
        """Tell the newest session what happened; one that is not connected hears of it when it resumes."""
        if self.sessions:
            await self._tell(list(self.sessions.values())[-1], name, data)

    async def drop(self, *, forget: bool = False) -> None:
        """Cut every connection; ``forget`` ends the sessions as well, so that none can be resumed."""
        sessions = list(self.sessions.values())
        if forget:
            self.sessions.clear()
            self.ready.clear()
        for session in sessions:
            if session.socket is not None and not session.socket.ws.closed:
                await session.socket.ws.close(code=4000)

    def longest_silence(self) -> float:
        """Return the longest time between two heartbeats of a connection, in seconds."""
        return max((b - a for a, b in zip(self.beats, self.beats[1:], strict=False)), default=0.0)
