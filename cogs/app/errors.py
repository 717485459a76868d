"""Discord only: the one handler of errors: a person reads a sentence, the log gets the cause."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import discord
from discord import app_commands

from cogs.memory.errors import MnemeError
from cogs.memory.text.sanitize import as_told

log = logging.getLogger(__name__)

UNKNOWN_INTERACTION, ALREADY_ANSWERED = 10062, 40060
SORRY = "Something went wrong, and it is in the log. Try again in a moment."


class Errors:
    """The one place where errors end: a person reads a sentence, the log gets the cause."""

    def log(self, doing: str, error: BaseException) -> None:
        """Log an error by its type and where it happened.

        Its text is left out, because libraries put message texts, parameters and addresses into it.
        """
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        cause = f", caused by {type(error.__cause__).__name__}" if error.__cause__ else ""
        detail = f" HTTP {error.status} code {error.code}" if isinstance(error, discord.HTTPException) else ""
        log.error("%s failed: %s%s%s at %s", doing, type(error).__name__, detail, cause, where)

    def told(self, error: BaseException) -> str:
        """Return what a person is told, as Discord may show it: an error repeats names and words of others."""
        return as_told(self.sentence(error))

    def sentence(self, error: BaseException) -> str:
        """Return what a person is told, as plain text."""
        if isinstance(error, MnemeError):
            return str(error)
        if isinstance(error, app_commands.CommandOnCooldown):
            return f"That was quick; try again in {error.retry_after:.0f} seconds."
        if isinstance(error, app_commands.CommandSignatureMismatch | app_commands.CommandNotFound):
            return "This command has changed; restart your Discord client to get its new form."
        if isinstance(error, app_commands.TransformerError):
            return "One of the options cannot be read; check it and try again."
        if isinstance(error, app_commands.NoPrivateMessage):
            return "This works in a server only."
        if isinstance(error, app_commands.CheckFailure):
            return str(error) or "You may not do that."
        if isinstance(error, discord.Forbidden):
            return "Discord does not let me do that here; an administrator can check my permissions."
        return SORRY

    async def tell(self, interaction: discord.Interaction, error: BaseException) -> None:
        """Answer an interaction whose handling raised ``error``."""
        if isinstance(error, app_commands.CommandInvokeError):
            error = error.original
        if isinstance(error, discord.HTTPException) and error.code in (UNKNOWN_INTERACTION, ALREADY_ANSWERED):
            log.info("an interaction had expired before it was answered")
            return
        if not isinstance(error, MnemeError | app_commands.CheckFailure):
            self.log("an interaction", error)
        try:
            if interaction.type is discord.InteractionType.autocomplete:
                if not interaction.response.is_done():
                    await interaction.response.autocomplete([])
            elif interaction.response.is_done():
                await interaction.followup.send(self.told(error), ephemeral=True)
            else:
                await interaction.response.send_message(self.told(error), ephemeral=True)
        except discord.HTTPException as refused:
            log.info("an error could not be told: HTTP %s", refused.status)
