"""Discord only: ``/memory``, for administrators: profile, status, channels, retention, forgetting, labels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from cogs.app.page import page_url
from cogs.commands import administration
from cogs.commands.administration import ForgetCommand, LabelCommand, RetentionCommand
from cogs.commands.asker import NotAllowed, managed_guild
from cogs.commands.lookups import read_date
from cogs.commands.options import read_options
from cogs.extensions.buttons import StopButton, ask_first, say
from cogs.extensions.parameters import (
    choices_of,
    complete,
    complete_one,
    option_parameters,
    person,
    reader,
    texts,
)
from cogs.gateway.backfill import Backfill
from cogs.memory.text.sanitize import as_told, one_line
from cogs.web.gate import Person

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot

Interaction = discord.Interaction["MnemeBot"]
PROGRESS_SECONDS = 2.5


class Refused(app_commands.CheckFailure):
    """The person may not use this command; the text is the sentence that they see."""


@app_commands.guild_only()
@app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
@app_commands.default_permissions(manage_guild=True)
class Memory(commands.GroupCog, name="memory", description="Look after the memory of this server"):
    """What administrators decide. Every answer is private."""

    profile = app_commands.Group(name="profile", description="Which models remember and recall")
    channels = app_commands.Group(name="channels", description="Which channels are remembered")
    labels = app_commands.Group(name="labels", description="Labels that messages are sorted under")

    def __init__(self, bot: MnemeBot) -> None:
        self.bot = bot

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Refuse whoever may not manage the server, whatever their client showed them, before anything is shown."""
        try:
            managed_guild(person(interaction))
        except NotAllowed as error:
            raise Refused(str(error)) from error
        return True

    # -- profile and status --------------------------------------------------------------------------------

    @profile.command(name="list", description="Show the profiles, and what this machine can run")
    async def profile_list(self, interaction: Interaction) -> None:
        """List the profiles."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await say(interaction, await administration.profiles(self.bot.service, person(interaction)))

    @profile.command(name="use", description="Switch to a profile: /memory profile use name:cpu")
    @app_commands.describe(name="The profile's name")
    async def profile_use(self, interaction: Interaction, name: str) -> None:
        """Switch while people go on asking."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        shown = 0.0

        async def progress(step: str, share: float) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= PROGRESS_SECONDS:
                shown = now
                await _edit(interaction, f"{one_line(step, 200)} … {share:.0%}")

        done = await administration.use_profile(self.bot.service, person(interaction), name, progress)
        await _edit(interaction, done)

    @profile_use.autocomplete("name")
    async def _profiles(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return choices_of(administration.profile_suggestions(self.bot.service, person(interaction), current))

    @app_commands.command(description="Show what is remembered here, the queue, the models and their speed")
    async def status(self, interaction: Interaction) -> None:
        """Show the state of the memory."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        asker = person(interaction)
        run = self.bot.backfills.of(managed_guild(asker))
        text = await administration.status(self.bot.service, asker)
        await say(interaction, text if run is None else f"{text}\n{run.sentence()}")

    @app_commands.command(description="Get a link to the page of this server's memory, in a direct message")
    async def page(self, interaction: Interaction) -> None:
        """Send the person a link that signs them in, once."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        guild_id = managed_guild(person(interaction))
        if self.bot.settings.web is None:
            await say(interaction, "There is no page here: whoever runs the bot can switch it on with MNEME_WEB.")
            return
        link = f"{page_url(self.bot.settings)}/enter?link={self.bot.gate.link(Person(guild_id, interaction.user.id))}"
        try:
            # Between these signs Discord shows no preview, and fetches nothing.
            await interaction.user.send(f"The page of the memory, good for ten minutes and one sign-in: <{link}>")
        except discord.Forbidden:
            await say(interaction, "I may not write to you: allow direct messages from members of this server first.")
            return
        await say(interaction, "The link is in your direct messages. It is good for ten minutes, once.")

    # -- channels ------------------------------------------------------------------------------------------

    @channels.command(name="list", description="Show which of the channels that you can read are remembered")
    async def channels_list(self, interaction: Interaction) -> None:
        """List the channels."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await say(interaction, await administration.channels(self.bot.service, await reader(interaction)))

    @channels.command(
        name="include", description="Remember a channel from now on: /memory channels include channel:plans"
    )
    @app_commands.describe(channel="The channel or thread")
    async def channels_include(self, interaction: Interaction, channel: str) -> None:
        """Begin to remember a channel."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        asker = await reader(interaction)
        included, done = await administration.include_channel(self.bot.service, asker, channel)
        await self.bot.catch_up.begin_now(included.guild_id, included.id)
        await say(interaction, done)

    @channels.command(name="exclude", description="Stop remembering a channel, and erase what was remembered of it")
    @app_commands.describe(channel="The channel or thread")
    async def channels_exclude(self, interaction: Interaction, channel: str) -> None:
        """Stop remembering a channel and erase its past."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        asker = await reader(interaction)
        await say(interaction, await administration.exclude_channel(self.bot.service, asker, channel))

    # -- retention and forgetting --------------------------------------------------------------------------

    @app_commands.command(description="Keep messages for a number of days only, 0 for as long as they exist")
    @option_parameters(RetentionCommand)
    async def retention(self, interaction: Interaction, **options: Any) -> None:
        """Set how long messages are kept."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(RetentionCommand, options)
        await say(interaction, await administration.retention(self.bot.service, person(interaction), command))

    @app_commands.command(description="Erase a channel, a person or a message from the memory")
    @option_parameters(ForgetCommand)
    async def forget(self, interaction: Interaction, **options: Any) -> None:
        """Erase, once confirmed where it is more than one message."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(ForgetCommand, texts(options))
        await ask_first(interaction, await administration.forget(self.bot.service, await reader(interaction), command))

    # -- the past ------------------------------------------------------------------------------------------

    @app_commands.command(description="Read what was said before: /memory backfill since:2024-01-01")
    @app_commands.describe(
        channel="Only this channel and its threads", since="How far back (as far as it goes unless you say)"
    )
    async def backfill(self, interaction: Interaction, channel: str | None = None, since: str | None = None) -> None:
        """Read the past, showing how far it is."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        assert interaction.guild is not None
        asker = await reader(interaction)
        named = None if channel is None else await administration.channel_named(self.bot.service, asker, channel)
        start = await read_date(since, asker)
        until = 0 if start is None else max(0, discord.utils.time_snowflake(start) - 1)
        run = await self.bot.backfills.start(interaction.guild, None if named is None else named.id, until)
        self.bot.start_task(self._show_progress(interaction, run), f"progress {interaction.guild.id}")

    async def _show_progress(self, interaction: Interaction, run: Backfill) -> None:
        stop = StopButton(run.stop, lambda pressed: person(pressed).manages)
        message = await interaction.followup.send(as_told(run.sentence()), view=stop, ephemeral=True, wait=True)
        while run.running:
            await run.wait(PROGRESS_SECONDS)
            view = stop if run.running else None
            try:
                await message.edit(content=as_told(run.sentence()), view=view)
            except discord.HTTPException:
                return  # A quarter of an hour is over, and the message cannot be changed any more; the run goes on.

    # -- labels --------------------------------------------------------------------------------------------

    @labels.command(name="list", description="Show the labels (an experiment) that messages are sorted under")
    async def labels_list(self, interaction: Interaction) -> None:
        """List the labels."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await say(interaction, await administration.labels(self.bot.service, person(interaction)))

    @labels.command(
        name="add", description="Add a label (an experiment): name:recipe description:how to cook something"
    )
    @option_parameters(LabelCommand)
    async def labels_add(self, interaction: Interaction, **options: Any) -> None:
        """Add a label or describe it anew."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(LabelCommand, options)
        await ask_first(
            interaction, await administration.add_label(self.bot.service, await reader(interaction), command)
        )

    @labels.command(name="remove", description="Remove a label from every message")
    @app_commands.describe(name="What it is called")
    async def labels_remove(self, interaction: Interaction, name: str) -> None:
        """Remove a label."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        command = read_options(LabelCommand, {"name": name})
        await say(interaction, await administration.remove_label(self.bot.service, person(interaction), command))

    complete(forget, ForgetCommand, managers=True)
    complete_one(channels_include, "channel", "channel", managers=True)
    complete_one(channels_exclude, "channel", "channel", managers=True)
    complete_one(backfill, "channel", "channel", managers=True)


async def _edit(interaction: Interaction, text: str) -> None:
    """Change the answer; after a quarter of an hour Discord no longer lets it be changed."""
    if not interaction.is_expired():
        await interaction.edit_original_response(content=as_told(text))


async def setup(bot: MnemeBot) -> None:
    """Add the cog."""
    await bot.add_cog(Memory(bot))
