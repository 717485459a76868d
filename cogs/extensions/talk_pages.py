"""Discord only: the talk around a hit, with buttons for more of it."""

from __future__ import annotations

import asyncio

import discord

from cogs.commands.around import STEP, AroundAnswer, around
from cogs.extensions.buttons import Interaction, OwnView
from cogs.extensions.parameters import reader
from cogs.memory.records import Scope
from cogs.memory.text.sanitize import as_told

COLOUR = discord.Colour(0x5865F2)


class TalkPages(OwnView):
    """A conversation that only its asker sees. Every press asks again what they may read, and what still stands."""

    def __init__(self, message_id: int, asker_id: int) -> None:
        super().__init__(asker_id)
        self._message_id = message_id
        self._answer: AroundAnswer | None = None

    async def first(self, interaction: Interaction) -> None:
        """Show the conversation as a new private message below the result."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        embed = await self._look(interaction)
        await interaction.followup.send(embed=embed, view=self, ephemeral=True)

    async def _look(self, interaction: Interaction, before: int = 0, after: int = 0) -> discord.Embed:
        service, asker = interaction.client.service, await reader(interaction)
        if self._answer is None:
            self._answer = await around(service, asker, self._message_id)
        else:
            wider = (self._answer.before + before, self._answer.after + after)
            self._answer = await around(service, asker, self._message_id, *wider)
        message = self._answer.conversation.message
        names = interaction.client.readers.names(Scope.of(message.guild_id, [message.channel_id]))
        view = await asyncio.to_thread(self._answer.view, names)
        self.earlier.disabled, self.later.disabled = not view.earlier, not view.later
        return discord.Embed(title=as_told(view.title, 256), description=view.markdown, colour=COLOUR)

    @discord.ui.button(label="Earlier", style=discord.ButtonStyle.secondary)
    async def earlier(self, interaction: Interaction, _: discord.ui.Button[TalkPages]) -> None:
        """Show more before."""
        await interaction.response.defer()
        await interaction.edit_original_response(embed=await self._look(interaction, before=STEP), view=self)

    @discord.ui.button(label="Later", style=discord.ButtonStyle.secondary)
    async def later(self, interaction: Interaction, _: discord.ui.Button[TalkPages]) -> None:
        """Show more after."""
        await interaction.response.defer()
        await interaction.edit_original_response(embed=await self._look(interaction, after=STEP), view=self)
