"""Discord only: ``/privacy``: what is stored about me, stop, go on, give it to me, forget me."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogs.extensions.buttons import Confirm
from cogs.memory.records import JsonObject
from cogs.memory.text.status_lines import person_lines

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot

Interaction = discord.Interaction["MnemeBot"]
FILE_BYTES = 8_000_000
FILES_IN_A_MESSAGE = 10
WHERE = [
    app_commands.Choice(name="in this server", value="here"),
    app_commands.Choice(name="everywhere", value="everywhere"),
]


class Privacy(commands.GroupCog, name="privacy", description="What I remember of you, and how to make me forget it"):
    """Everybody's say over their own words. Every answer is private."""

    def __init__(self, bot: MnemeBot) -> None:
        self.bot = bot

    @app_commands.command(description="Show what is stored about you: /privacy show where:everywhere")
    @app_commands.describe(where="In this server (unless you say otherwise), or everywhere")
    @app_commands.choices(where=WHERE)
    async def show(self, interaction: Interaction, where: str = "here") -> None:
        """Say how much is stored."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        summary = await self.bot.service.stored_about(interaction.user.id, _guild(interaction, where))
        await _say(interaction, "\n".join(person_lines(summary, discord.utils.utcnow())))

    @app_commands.command(
        name="opt-out", description="Stop being remembered, at once, and erase the past: /privacy opt-out"
    )
    @app_commands.describe(where="In this server (unless you say otherwise), or everywhere")
    @app_commands.choices(where=WHERE)
    async def opt_out(self, interaction: Interaction, where: str = "here") -> None:
        """Stop, and erase the past."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        gone = await self.bot.service.opt_out(interaction.user.id, _guild(interaction, where))
        await _say(
            interaction,
            f"Done: I no longer remember what you write {_place(interaction, where)}, and {_erased(gone)}. "
            "`/privacy opt-in` takes this back; what was erased stays erased.",
        )

    @app_commands.command(name="opt-in", description="Be remembered again from now on: /privacy opt-in")
    @app_commands.describe(where="In this server (unless you say otherwise), or everywhere")
    @app_commands.choices(where=WHERE)
    async def opt_in(self, interaction: Interaction, where: str = "here") -> None:
        """Take an opt-out back."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        guild_id = _guild(interaction, where)
        await self.bot.service.opt_in(interaction.user.id, guild_id)
        if guild_id is not None and await self.bot.service.is_opted_out(interaction.user.id, guild_id):
            await _say(
                interaction, "You have opted out everywhere; `/privacy opt-in where:everywhere` takes that back."
            )
            return
        await _say(interaction, f"I remember what you write {_place(interaction, where)} from now on.")

    @app_commands.command(description="Get everything of yours that is stored, as a JSON file: /privacy export")
    @app_commands.describe(where="In this server (unless you say otherwise), or everywhere")
    @app_commands.choices(where=WHERE)
    async def export(self, interaction: Interaction, where: str = "here") -> None:
        """Hand over a person's own words."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        data = await self.bot.service.export_person(interaction.user.id, _guild(interaction, where))
        parts = export_parts(data)
        for start in range(0, len(parts), FILES_IN_A_MESSAGE):
            files = [
                discord.File(io.BytesIO(part), filename=f"mneme-export-{number}.json")
                for number, part in enumerate(parts[start : start + FILES_IN_A_MESSAGE], start=start + 1)
            ]
            await interaction.followup.send("Everything of yours that is stored.", files=files, ephemeral=True)

    @app_commands.command(
        name="forget-me", description="Erase everything you wrote from the memory: /privacy forget-me"
    )
    @app_commands.describe(where="In this server (unless you say otherwise), or everywhere")
    @app_commands.choices(where=WHERE)
    async def forget_me(self, interaction: Interaction, where: str = "here") -> None:
        """Erase the past, once confirmed; what is written afterwards is remembered again."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        user, guild_id = interaction.user.id, _guild(interaction, where)
        summary = await self.bot.service.stored_about(user, guild_id)

        async def erase(_: Interaction) -> str:
            return f"Done: {_erased(await self.bot.service.forget_person(user, guild_id))}."

        question = (
            f"This erases {_count(summary.messages)} of yours {_place(interaction, where)} for good. "
            "To be left out from now on as well, use `/privacy opt-out`."
        )
        view = Confirm(user, f"Erase {_count(summary.messages)}", erase)
        await interaction.followup.send(question, view=view, ephemeral=True)


def export_parts(data: JsonObject, limit: int = FILE_BYTES) -> list[bytes]:
    """Return an export as JSON files of at most about ``limit`` bytes, each complete in itself."""
    messages = data.get("messages", [])
    whole = json.dumps(data, ensure_ascii=False, indent=1).encode()
    if len(whole) <= limit or len(messages) < 2:
        return [whole]
    middle = len(messages) // 2
    halves = ({**data, "messages": messages[:middle]}, {**data, "messages": messages[middle:]})
    return [part for half in halves for part in export_parts(half, limit)]


def _guild(interaction: Interaction, where: str) -> int | None:
    return None if where == "everywhere" else interaction.guild_id


def _place(interaction: Interaction, where: str) -> str:
    return "everywhere" if _guild(interaction, where) is None else "in this server"


def _erased(count: int) -> str:
    return f"{_count(count)} of yours {'is' if count == 1 else 'are'} erased"


def _count(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


async def _say(interaction: Interaction, text: str) -> None:
    await interaction.followup.send(text, ephemeral=True)


async def setup(bot: MnemeBot) -> None:
    """Add the cog."""
    await bot.add_cog(Privacy(bot))
