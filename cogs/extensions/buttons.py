"""Discord only: views that only their owner may press: confirmations and the stop of a reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import discord

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
    """Asks before something is erased; what happens then is ``action``, which returns the sentence to show."""

    def __init__(self, asker_id: int, label: str, action: Callable[[Interaction], Awaitable[str]]) -> None:
        super().__init__(asker_id, timeout=300.0)
        self._action = action
        self.confirm.label = label

    @discord.ui.button(label="Erase", style=discord.ButtonStyle.danger)
    async def confirm(self, interaction: Interaction, _: discord.ui.Button[Confirm]) -> None:
        """Do it."""
        self.stop()
        await interaction.response.defer()
        await interaction.edit_original_response(content=await self._action(interaction), view=None)

    @discord.ui.button(label="Cancel", style=discord.ButtonStyle.secondary)
    async def cancel(self, interaction: Interaction, _: discord.ui.Button[Confirm]) -> None:
        """Leave everything as it is."""
        self.stop()
        await interaction.response.edit_message(content="Nothing was erased.", view=None)


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
