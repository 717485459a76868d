"""A site on a real memory with two channels, an owner who sees both and a member who sees one."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from starlette.types import ASGIApp

from cogs.memory.access.guild_view import ChannelView, GuildView, MemberView, OverwriteView, RoleView
from cogs.memory.access.permissions import READ_MESSAGE_HISTORY, VIEW_CHANNEL
from cogs.memory.service import MemoryService
from cogs.web.agents import agent_site
from cogs.web.context import WebContext
from cogs.web.directory import GuildViewDirectory
from cogs.web.gate import Gate, Person
from cogs.web.site import build_site
from tests.memory.building import ANNA, BEN, CARLA, GENERAL, GUILD, SECRET, START, message, running_service

READ = VIEW_CHANNEL | READ_MESSAGE_HISTORY
OWNER, MEMBER = Person(GUILD, ANNA), Person(GUILD, BEN)
HOSTILE = '<script>alert(1)</script> [x](https://evil.example) <img src=x onerror="alert(2)">'
HOSTILE_NAME = '"><b onmouseover=alert(3)>Carla</b>'
KEY = "The key of the boat house lies under the third flower pot"
CODE = "Keepers only: the code of the safe is 4711"
BASE = "http://localhost:8080"


def view(*members: MemberView) -> GuildView:
    """Return the server: #general for everyone, #secret for its owner."""
    closed = OverwriteView(GUILD, "role", 0, VIEW_CHANNEL)
    return GuildView(
        GUILD,
        "The Guild",
        ANNA,
        (RoleView(GUILD, "@everyone", READ),),
        (ChannelView(GENERAL, "general"), ChannelView(SECRET, "secret", overwrites=(closed,))),
        members or (MemberView(ANNA, "Anna"), MemberView(BEN, "Ben"), MemberView(CARLA, HOSTILE_NAME)),
    )


class Server(GuildViewDirectory):
    """A server whose members can leave while the site runs."""

    def __init__(self, service: MemoryService) -> None:
        self.known = {GUILD: view()}
        super().__init__(service, self.known)

    def leave(self, user_id: int) -> None:
        """Let a member leave."""
        kept = tuple(member for member in self.known[GUILD].members if member.id != user_id)
        self.known[GUILD] = replace(self.known[GUILD], members=kept)


@dataclass
class Site:
    """The running site and what stands behind it."""

    app: ASGIApp
    context: WebContext
    service: MemoryService
    server: Server

    @asynccontextmanager
    async def browser(self, person: Person | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """Yield a client with a cookie jar, signed in where a person is named."""
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE) as client:
            if person is not None:
                response = await client.post("/enter", data={"link": self.context.gate.link(person)})
                assert response.status_code == 303, response.text
            yield client


@asynccontextmanager
async def running_site(folder: Path, profile: str = "minimal") -> AsyncIterator[Site]:
    """Yield a site on a memory with a handful of messages."""
    async with running_service(folder, profile=profile) as service:
        await service.remember(
            [
                message(1, KEY),
                message(2, CODE, channel=SECRET),
                message(3, HOSTILE, author=CARLA, author_name=HOSTILE_NAME),
                message(4, "Shall we sail on Sunday?", author=BEN),
            ]
        )
        await service.drain()
        server = Server(service)
        context = WebContext(
            service, Gate(b"k" * 32), server, now=lambda: START + dt.timedelta(days=1), requests_per_second=1000
        )
        yield Site(build_site(context, {"/mcp": agent_site(context, BASE)}), context, service, server)


def csrf_of(html: str) -> str:
    """Return the secret of the page's forms."""
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found is not None
    return found[1]


async def posted(client: httpx.AsyncClient, page: str, path: str, **fields: str) -> httpx.Response:
    """Load a page, and send one of its forms."""
    shown = await client.get(page)
    return await client.post(path, data={"csrf": csrf_of(shown.text), **fields})
