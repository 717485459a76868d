"""Discord only: ``/privacy``: what is stored about me, stop, go on, give it to me, forget me."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs.commands import own_words
from cogs.commands.options import read_options
from cogs.commands.own_words import OwnWords, export_parts
from cogs.extensions.buttons import ask_first, say
from cogs.extensions.parameters import option_parameters, person

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot

Interaction = discord.Interaction["MnemeBot"]
FILES_IN_A_MESSAGE = 10


class Privacy(commands.GroupCog, name="privacy", description="What I remember of you, and how to make me forget it"):
    """Everybody's say over their own words. Every answer is private."""

    def __init__(self, bot: MnemeBot) -> None:
        self.bot = bot

    @app_commands.command(description="Show what is stored about you: /privacy show where:everywhere")
    @option_parameters(OwnWords)
    async def show(self, interaction: Interaction, **options: Any) -> None:
        """Say how much is stored."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(OwnWords, options)
        await say(interaction, await own_words.show(self.bot.service, person(interaction), command))

    @app_commands.command(
        name="opt-out", description="Stop being remembered, at once, and erase the past: /privacy opt-out"
    )
    @option_parameters(OwnWords)
    async def opt_out(self, interaction: Interaction, **options: Any) -> None:
        """Stop, and erase the past."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(OwnWords, options)
        await say(interaction, await own_words.opt_out(self.bot.service, person(interaction), command))

    @app_commands.command(name="opt-in", description="Be remembered again from now on: /privacy opt-in")
    @option_parameters(OwnWords)
    async def opt_in(self, interaction: Interaction, **options: Any) -> None:
        """Take an opt-out back."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(OwnWords, options)
        await say(interaction, await own_words.opt_in(self.bot.service, person(interaction), command))

    @app_commands.command(description="Get everything of yours that is stored, as a JSON file: /privacy export")
    @option_parameters(OwnWords)
    async def export(self, interaction: Interaction, **options: Any) -> None:
        """Hand over a person's own words."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(OwnWords, options)
        parts = export_parts(await own_words.export(self.bot.service, person(interaction), command))
        for start in range(0, len(parts), FILES_IN_A_MESSAGE):
            files = [
                discord.File(io.BytesIO(part), filename=f"mneme-export-{number}.json")
                for number, part in enumerate(parts[start : start + FILES_IN_A_MESSAGE], start=start + 1)
            ]
            await interaction.followup.send("Everything of yours that is stored.", files=files, ephemeral=True)

    @app_commands.command(
        name="forget-me", description="Erase everything you wrote from the memory: /privacy forget-me"
    )
    @option_parameters(OwnWords)
    async def forget_me(self, interaction: Interaction, **options: Any) -> None:
        """Erase the past, once confirmed; what is written afterwards is remembered again."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(OwnWords, options)
        await ask_first(interaction, await own_words.forget_me(self.bot.service, person(interaction), command))


async def setup(bot: MnemeBot) -> None:
    """Add the cog."""
    await bot.add_cog(Privacy(bot))
