"""Discord only: the page beside the bot, with members and rights asked of Discord."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

import discord
from cachetools import TTLCache

from cogs.memory.records import Scope
from cogs.web.gate import Gate, Person, page_key

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot
    from cogs.web.context import GatewayState, WebContext
    from cogs.web.directory import Visitor
    from config.settings import Settings

VISITOR_SECONDS = 1.0
"""How long an answer of Discord counts: one page asks several times, and whoever leaves is out at once all the same."""
VISITORS = 1000


def gate_of(bot: MnemeBot) -> Gate:
    """Return who may come in, with the data folder's key.

    Raises:
        StorageError: the key can be neither read nor written.
    """
    return Gate(page_key(bot.settings.data_dir))


def page_url(settings: Settings) -> str:
    """Return the address of the page as people open it."""
    return (settings.web_url or f"http://{settings.web}").rstrip("/")


@contextlib.asynccontextmanager
async def page_beside(bot: MnemeBot) -> AsyncIterator[None]:
    """Serve the page while the block runs, where ``MNEME_WEB`` asks for it.

    Raises:
        BadRequest: the address is none, or is taken.
    """
    settings = bot.settings
    if settings.web is None:
        yield
        return
    from cogs.web.agents import agent_site
    from cogs.web.server import hosts_of, serving
    from cogs.web.site import build_site

    context = web_context(bot, hosts_of(settings))
    async with serving(build_site(context, {"/mcp": agent_site(context, page_url(settings))}), settings.web):
        yield


def web_context(bot: MnemeBot, hosts: frozenset[str]) -> WebContext:
    """Return what the site needs to know of the bot."""
    from cogs.web.context import WebContext

    def notes(guild_id: int) -> Sequence[str]:
        run = bot.backfills.of(guild_id)
        return () if run is None else (run.sentence(),)

    token = bot.settings.metrics_token
    return WebContext(
        service=bot.service,
        gate=bot.gate,
        directory=LiveDirectory(bot),
        gateway=lambda: _gateway(bot),
        hosts=hosts,
        metrics_token=None if token is None else token.get_secret_value(),
        notes=notes,
    )


def _gateway(bot: MnemeBot) -> GatewayState:
    from cogs.web.context import GatewayState

    seconds = bot.latency
    return GatewayState(bot.is_ready(), seconds if math.isfinite(seconds) else None, max(0, bot.connections - 1))


class LiveDirectory:
    """Answers from Discord who somebody is and what they may read now."""

    def __init__(self, bot: MnemeBot) -> None:
        self._bot = bot
        self._recent: TTLCache[Person, Visitor] = TTLCache(VISITORS, VISITOR_SECONDS)

    async def visitor(self, person: Person) -> Visitor | None:
        """Return the member as of now, or ``None`` for whoever is not on the server, or while Discord cannot tell."""
        from cogs.web.directory import Visitor

        found = self._recent.get(person)
        if found is not None:
            return found
        guild = self._bot.get_guild(person.guild_id)
        if guild is None or guild.unavailable:
            return None
        try:
            member = await guild.fetch_member(person.user_id)
        except discord.HTTPException:
            return None
        scope = await self._bot.readers.reader(member, None)
        visitor = Visitor(person, member.display_name, guild.name, _manages(member), scope)
        self._recent[person] = visitor
        return visitor

    def names(self, scope: Scope) -> Mapping[int, str]:
        """Return names for the mentions inside of messages."""
        return self._bot.readers.names(scope)


def _manages(member: discord.Member) -> bool:
    granted = member.guild_permissions
    return member.guild.owner_id == member.id or granted.manage_guild or granted.administrator
