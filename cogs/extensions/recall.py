"""Discord only: ``/recall``, and "Find similar" on a message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs.commands.catch_up import CatchUpCommand, catch_up
from cogs.commands.options import read_options
from cogs.commands.recall import RecallCommand, recall, similar
from cogs.extensions.parameters import complete, option_parameters, reader, texts
from cogs.extensions.result_pages import ResultPages, catch_up_embeds

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot

Interaction = discord.Interaction["MnemeBot"]


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
    @option_parameters(RecallCommand)
    async def recall(self, interaction: Interaction, **options: Any) -> None:
        """Answer a search, in pages."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(RecallCommand, texts(options))
        answer = await recall(self.bot.service, await reader(interaction), command)
        await ResultPages(answer, interaction.user.id).first(interaction)

    complete(recall, RecallCommand)

    @app_commands.command(name="catchup", description="What was talked about: /catchup since:yesterday channel:plans")
    @option_parameters(CatchUpCommand)
    async def catch_up(self, interaction: Interaction, **options: Any) -> None:
        """Answer what was talked about, by conversation, for the asker alone."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(CatchUpCommand, texts(options))
        answer = await catch_up(self.bot.service, await reader(interaction), command)
        names = self.bot.readers.names(answer.asker.scope)
        for embed in await asyncio.to_thread(catch_up_embeds, answer, names):
            await interaction.followup.send(embed=embed, ephemeral=True)

    complete(catch_up, CatchUpCommand)

    async def find_similar(self, interaction: Interaction, message: discord.Message) -> None:
        """Answer with messages that say something like the one clicked."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        answer = await similar(self.bot.service, await reader(interaction), message.id)
        await ResultPages(answer, interaction.user.id).first(interaction)


async def setup(bot: MnemeBot) -> None:
    """Add the cog."""
    await bot.add_cog(Recall(bot))
