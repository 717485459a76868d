"""Discord only: ``/recall``, and "Find similar" on a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import discord
from discord import app_commands
from discord.ext import commands

from cogs.commands.options import check_range, read_date, resolve_author, resolve_channel, visible_channels
from cogs.extensions.result_pages import ResultPages
from cogs.memory.records import Filters, RecallRequest
from cogs.memory.text.sanitize import one_line

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot

Interaction = discord.Interaction["MnemeBot"]
CHOICES = 25
HAS = [app_commands.Choice(name=name, value=name) for name in ("link", "image", "file", "embed")]
DEFAULT_LIMIT = 10


class Recall(commands.Cog):
    """Finds what was said. Everything it shows is private to the one who asked."""

    def __init__(self, bot: MnemeBot) -> None:
        self.bot = bot
        self._similar = app_commands.ContextMenu(name="Find similar", callback=self.find_similar)
        self._similar.allowed_contexts = app_commands.AppCommandContext(
            guild=True, dm_channel=False, private_channel=False
        )

    async def cog_load(self) -> None:
        """Add the entry of the message menu, which no decorator can put into a class."""
        self.bot.tree.add_command(self._similar)

    async def cog_unload(self) -> None:
        """Take the entry back."""
        self.bot.tree.remove_command(self._similar.name, type=self._similar.type)

    @app_commands.command(description="Find what was said: /recall where did we put the tent? author:Ann")
    @app_commands.describe(
        query="What to look for, in your own words",
        channel="Only in this channel and its threads",
        author="Only what this person wrote, even if they left",
        before="Only before this day: 2026-03-01, last tuesday",
        after="Only from this day on: 2026-03-01, two weeks ago",
        has="Only messages with a link, an image, a file or an embed",
        label="Only messages with this label",
        limit="How many results, 1 to 50 (10 unless you say)",
    )
    @app_commands.choices(has=HAS)
    async def recall(
        self,
        interaction: Interaction,
        query: str,
        channel: str | None = None,
        author: str | None = None,
        before: str | None = None,
        after: str | None = None,
        has: str | None = None,
        label: str | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> None:
        """Answer a search, in pages."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        now = discord.utils.utcnow()
        scope = await self.bot.readers.reader(interaction.user, interaction.channel_id)
        since, until = await read_date(after, now), await read_date(before, now)
        check_range(since, until)
        authors = None if author is None else await resolve_author(self.bot.service, _text(author), scope)
        if channel is not None:
            visible = await visible_channels(self.bot.service, scope)
            scope = scope.narrowed(resolve_channel(_text(channel), visible))
        filters = Filters(authors, since, until, _has(has), label)
        request = RecallRequest(query, scope, filters, limit, asked_at=now)
        result = await self.bot.service.recall(request)
        await ResultPages(result, query, interaction.user.id).first(interaction)

    @recall.autocomplete("channel")
    async def _channels(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        scope = await self.bot.readers.reader(interaction.user, interaction.channel_id)
        typed = current.strip().removeprefix("#").casefold()
        found = [info for info in await visible_channels(self.bot.service, scope) if typed in info.name.casefold()]
        found.sort(key=lambda info: (info.kind == "thread", info.name.casefold()))
        return [_choice(f"#{info.name}", info.id) for info in found[:CHOICES]]

    @recall.autocomplete("author")
    async def _authors(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        scope = await self.bot.readers.reader(interaction.user, interaction.channel_id)
        found = await self.bot.service.authors(scope, current.strip().removeprefix("@"), CHOICES)
        return [_choice(name, author) for author, name in found]

    @recall.autocomplete("label")
    async def _labels(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        if interaction.guild_id is None:
            return []
        labels = await self.bot.service.labels(interaction.guild_id)
        fitting = [name for name, _ in labels if current.casefold() in name.casefold()]
        return [app_commands.Choice(name=name[:100], value=name[:100]) for name in fitting[:CHOICES]]

    async def find_similar(self, interaction: Interaction, message: discord.Message) -> None:
        """Answer with messages that say something like the one clicked."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        scope = await self.bot.readers.reader(interaction.user, interaction.channel_id)
        result = await self.bot.service.similar(message.id, scope)
        await ResultPages(result, "", interaction.user.id).first(interaction)


def _text(value: object) -> str:
    """Return an option as text; a client that still has an older form of the command may send the thing itself."""
    return str(getattr(value, "id", value))


def _has(value: str | None) -> Literal["link", "image", "file", "embed"] | None:
    for known in ("link", "image", "file", "embed"):
        if value == known:
            return known
    return None


def _choice(name: str, item_id: int) -> app_commands.Choice[str]:
    return app_commands.Choice(name=one_line(name, 100) or str(item_id), value=str(item_id))


async def setup(bot: MnemeBot) -> None:
    """Add the cog."""
    await bot.add_cog(Recall(bot))
