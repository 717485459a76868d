"""Discord only: private answers, and views that only their owner may press: confirmations, the stop of a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import discord

from cogs.commands.asker import Erasure
from cogs.memory.text.presentation import MESSAGE
from cogs.memory.text.sanitize import as_told

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot


TOKEN_SECONDS = 840.0
Interaction: TypeAlias = "discord.Interaction[MnemeBot]"


class OwnView(discord.ui.View):
    """A view that only the one who asked may press, and whose errors are told like those of commands."""

    def __init__(self, asker_id: int, timeout: float = TOKEN_SECONDS) -> None:
        super().__init__(timeout=timeout)
        self._asker_id = asker_id

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Turn others away."""
        if interaction.user.id == self._asker_id:
            return True
        await interaction.response.send_message("These buttons belong to somebody else.", ephemeral=True)
        return False

    async def on_error(
        self, interaction: discord.Interaction, error: Exception, item: discord.ui.Item[discord.ui.View]
    ) -> None:
        """Tell the person in a sentence, the log in full."""
        bot: MnemeBot = interaction.client  # type: ignore[assignment]
        await bot.errors.tell(interaction, error)


class Confirm(OwnView):
    """Asks before something is erased, or switched on."""

    def __init__(self, asker_id: int, label: str, erase: Callable[[], Awaitable[str]]) -> None:
        super().__init__(asker_id, timeout=300.0)
        self._erase = erase
        self.confirm.label = label

    @discord.ui.button(label="Erase", style=discord.ButtonStyle.danger)
    async def confirm(self, interaction: Interaction, _: discord.ui.Button[Confirm]) -> None:
        """Do it."""
        self.stop()
        await interaction.response.defer()
        await interaction.edit_original_response(content=as_told(await self._erase()), view=None)

    @discord.ui.button(label="Cancel", style=discord.ButtonStyle.secondary)
    async def cancel(self, interaction: Interaction, _: discord.ui.Button[Confirm]) -> None:
        """Leave everything as it is."""
        self.stop()
        await interaction.response.edit_message(content="Nothing was changed.", view=None)


class StopButton(discord.ui.View):
    """A button that stops a long piece of work; whoever may see it may press it."""

    def __init__(self, stop: Callable[[], None], allowed: Callable[[discord.Interaction], bool]) -> None:
        super().__init__(timeout=None)
        self._halt = stop
        self._allowed = allowed

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Administrators only, as for the command."""
        return self._allowed(interaction)

    @discord.ui.button(label="Stop", style=discord.ButtonStyle.danger)
    async def halt(self, interaction: discord.Interaction, _: discord.ui.Button[StopButton]) -> None:
        """Stop after the page in hand."""
        self._halt()
        self.stop()
        await interaction.response.defer()


async def ask_first(interaction: Interaction, erasure: Erasure) -> None:
    """Answer a deferred command with the question and its buttons; erase at once where there is nothing to ask."""
    if erasure.question is None:
        await say(interaction, await erasure.erase())
        return
    view = Confirm(interaction.user.id, erasure.button, erasure.erase)
    await interaction.followup.send(as_told(erasure.question), view=view, ephemeral=True)


async def say(interaction: Interaction, text: str) -> None:
    """Answer a deferred command with plain text, privately, in as many messages as its lines take."""
    part = ""
    for line in (as_told(line, MESSAGE - 1) for line in text.split("\n")):
        if part and len(part) + len(line) + 1 > MESSAGE:
            await interaction.followup.send(part, ephemeral=True)
            part = ""
        part += ("\n" if part else "") + line
    await interaction.followup.send(part, ephemeral=True)
