"""Discord only: ``/memory``, for administrators: profile, status, channels, retention, forgetting, labels."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogs.commands.options import read_date, resolve_author, resolve_channel, visible_channels
from cogs.extensions.buttons import Confirm, StopButton
from cogs.gateway.backfill import Backfill
from cogs.memory.errors import BadRequest
from cogs.memory.text.presentation import MESSAGE
from cogs.memory.text.sanitize import markdown, one_line
from cogs.memory.text.status_lines import profile_lines, status_lines

if TYPE_CHECKING:
    from cogs.app.client import MnemeBot

Interaction = discord.Interaction["MnemeBot"]
CHOICES = 25
MAX_RETENTION = 3650
PROGRESS_SECONDS = 2.5
_MESSAGE_LINK = re.compile(
    r"(?:https?://[\w.]*discord(?:app)?\.com/channels/(?P<guild>\d+)/\d+/)?(?P<message>\d{15,20})"
)
REFUSAL = "Only people who may manage this server can do that."


def is_admin(interaction: discord.Interaction) -> bool:
    """Return whether the person may manage the server; asked here because a client can send what it likes."""
    granted = interaction.permissions
    return interaction.guild_id is not None and (granted.manage_guild or granted.administrator)


class NotAllowed(app_commands.CheckFailure):
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
        """Refuse whoever may not manage the server, whatever their client showed them."""
        if not is_admin(interaction):
            raise NotAllowed(REFUSAL)
        return True

    # -- profile and status --------------------------------------------------------------------------------

    @profile.command(name="list", description="Show the profiles, and what this machine can run")
    async def profile_list(self, interaction: Interaction) -> None:
        """List the profiles."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await _say(interaction, profile_lines(self.bot.service.profiles()))

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

        await self.bot.service.use_profile(name, progress)
        await _edit(interaction, f"The profile {one_line(name)} is in use now.")

    @profile_use.autocomplete("name")
    async def _profiles(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        if not is_admin(interaction):
            return []
        fitting = [p for p in self.bot.service.profiles() if p.runnable and current.casefold() in p.name.casefold()]
        return [
            app_commands.Choice(name=one_line(f"{p.name}: {p.description}", 100), value=p.name)
            for p in fitting[:CHOICES]
        ]

    @app_commands.command(description="Show what is remembered here, the queue, the models and their speed")
    async def status(self, interaction: Interaction) -> None:
        """Show the state of the memory."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        assert interaction.guild_id is not None
        lines = list(status_lines(await self.bot.service.status(interaction.guild_id)))
        run = self.bot.backfills.of(interaction.guild_id)
        await _say(interaction, [*lines, run.sentence()] if run is not None else lines)

    # -- channels ------------------------------------------------------------------------------------------

    @channels.command(name="list", description="Show which of the channels that you can read are remembered")
    async def channels_list(self, interaction: Interaction) -> None:
        """List the channels."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        scope = await self.bot.readers.reader(interaction.user, interaction.channel_id)
        lines = []
        for info in sorted(await visible_channels(self.bot.service, scope), key=lambda i: i.name.casefold()):
            if info.kind != "thread":
                kept = await self.bot.service.is_remembered(info.guild_id, info.id)
                lines.append(f"{'●' if kept else '○'} #{info.name}{'' if kept else ' (not remembered)'}")
        await _say(interaction, lines or ["There is no channel that you can read."])

    @channels.command(
        name="include", description="Remember a channel from now on: /memory channels include channel:plans"[:100]
    )
    @app_commands.describe(channel="The channel or thread")
    async def channels_include(self, interaction: Interaction, channel: str) -> None:
        """Begin to remember a channel."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        guild_id, channel_id, name = await self._channel(interaction, channel)
        await self.bot.service.set_channel_included(guild_id, channel_id, True)
        await self.bot.catch_up.begin_now(guild_id, channel_id)
        await _say(interaction, [f"#{name} is remembered from now on. /memory backfill reads its past."])

    @channels.command(name="exclude", description="Stop remembering a channel, and erase what was remembered of it")
    @app_commands.describe(channel="The channel or thread")
    async def channels_exclude(self, interaction: Interaction, channel: str) -> None:
        """Stop remembering a channel and erase its past."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        guild_id, channel_id, name = await self._channel(interaction, channel)
        await self.bot.service.set_channel_included(guild_id, channel_id, False)
        await _say(interaction, [f"#{name} is no longer remembered, and what was is erased."])

    async def _channel(self, interaction: Interaction, text: str) -> tuple[int, int, str]:
        """Return the guild, id and name of the one channel that a text names among those the person can read."""
        assert interaction.guild_id is not None
        scope = await self.bot.readers.reader(interaction.user, interaction.channel_id)
        visible = await visible_channels(self.bot.service, scope)
        named = resolve_channel(str(getattr(text, "id", text)), visible)
        found = [
            info for info in visible if info.id in named and not (info.kind == "thread" and info.parent_id in named)
        ]
        if len(found) > 1:
            raise BadRequest(f"Several channels are called {one_line(text)}; choose one from the list.")
        return interaction.guild_id, found[0].id, one_line(found[0].name)

    # -- retention and forgetting --------------------------------------------------------------------------

    @app_commands.command(description="Keep messages for a number of days only, 0 for as long as they exist")
    @app_commands.describe(days="Older messages are erased, now and from now on; 0 keeps them")
    async def retention(self, interaction: Interaction, days: int) -> None:
        """Set how long messages are kept."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        assert interaction.guild_id is not None
        if not 0 <= days <= MAX_RETENTION:
            raise BadRequest(f"The number of days must lie between 0 and {MAX_RETENTION:,}.")
        gone = await self.bot.service.set_retention(interaction.guild_id, days or None)
        kept = f"for {days:,} days" if days else "as long as they exist"
        await _say(interaction, [f"Messages are kept {kept}. {gone or 0:,} were erased."])

    @app_commands.command(description="Erase a channel, a person or a message from the memory")
    @app_commands.describe(
        channel="Everything said in this channel and its threads",
        author="Everything that this person wrote, even if they left",
        message="One message, by its link or id",
    )
    async def forget(
        self,
        interaction: Interaction,
        channel: str | None = None,
        author: str | None = None,
        message: str | None = None,
    ) -> None:
        """Erase, once confirmed where it is more than one message."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        assert interaction.guild_id is not None
        if sum(option is not None for option in (channel, author, message)) != 1:
            raise BadRequest("Name one of channel, author and message.")
        service, guild_id = self.bot.service, interaction.guild_id
        if message is not None:
            gone = await service.forget_messages(guild_id, [_message_id(message, guild_id)])
            await _say(interaction, ["The message is erased." if gone else "That message is not in the memory."])
            return
        if channel is not None:
            _, channel_id, name = await self._channel(interaction, channel)
            question = f"This erases everything remembered of #{name} and its threads for good."

            async def erase(_: Interaction) -> str:
                return _erased(await service.forget_channel(guild_id, channel_id, keep_record=True))
        else:
            assert author is not None
            scope = await self.bot.readers.reader(interaction.user, interaction.channel_id)
            people = await resolve_author(service, str(getattr(author, "id", author)), scope)
            question = "This erases everything that this person wrote here for good."

            async def erase(_: Interaction) -> str:
                return _erased(sum([await service.forget_person(person, guild_id) for person in people]))

        view = Confirm(interaction.user.id, "Erase", erase)
        await interaction.followup.send(question, view=view, ephemeral=True)

    @channels_include.autocomplete("channel")
    @channels_exclude.autocomplete("channel")
    @forget.autocomplete("channel")
    async def _channels(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        if not is_admin(interaction):
            return []
        scope = await self.bot.readers.reader(interaction.user, interaction.channel_id)
        typed = current.strip().removeprefix("#").casefold()
        found = [info for info in await visible_channels(self.bot.service, scope) if typed in info.name.casefold()]
        return [app_commands.Choice(name=one_line(f"#{i.name}", 100), value=str(i.id)) for i in found[:CHOICES]]

    @forget.autocomplete("author")
    async def _authors(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        if not is_admin(interaction):
            return []
        scope = await self.bot.readers.reader(interaction.user, interaction.channel_id)
        found = await self.bot.service.authors(scope, current.strip().removeprefix("@"), CHOICES)
        return [app_commands.Choice(name=one_line(name, 100) or str(user), value=str(user)) for user, name in found]

    # -- the past ------------------------------------------------------------------------------------------

    @app_commands.command(description="Read what was said before: /memory backfill since:2024-01-01")
    @app_commands.describe(
        channel="Only this channel and its threads", since="How far back (as far as it goes unless you say)"
    )
    async def backfill(self, interaction: Interaction, channel: str | None = None, since: str | None = None) -> None:
        """Read the past, showing how far it is."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        assert interaction.guild is not None
        channel_id = None if channel is None else (await self._channel(interaction, channel))[1]
        start = await read_date(since, discord.utils.utcnow())
        until = 0 if start is None else discord.utils.time_snowflake(start) - 1
        run = await self.bot.backfills.start(interaction.guild, channel_id, until)
        self.bot.start_task(self._show_progress(interaction, run), f"progress {interaction.guild.id}")

    backfill.autocomplete("channel")(_channels)

    async def _show_progress(self, interaction: Interaction, run: Backfill) -> None:
        stop = StopButton(run.stop, is_admin)
        message = await interaction.followup.send(run.sentence(), view=stop, ephemeral=True, wait=True)
        while run.running:
            await run.wait(PROGRESS_SECONDS)
            view = stop if run.running else None
            try:
                await message.edit(content=run.sentence(), view=view)
            except discord.HTTPException:
                return  # A quarter of an hour is over, and the message cannot be changed any more; the run goes on.

    # -- labels --------------------------------------------------------------------------------------------

    @labels.command(name="list", description="Show the labels that messages are sorted under")
    async def labels_list(self, interaction: Interaction) -> None:
        """List the labels."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        assert interaction.guild_id is not None
        found = await self.bot.service.labels(interaction.guild_id)
        lines = [f"{one_line(name)}: {one_line(description, 300)}" for name, description in found]
        await _say(interaction, lines or ["There are no labels. /memory labels add makes one."])

    @labels.command(name="add", description="Add a label: name:recipe description:how to cook something")
    @app_commands.describe(name="What it is called", description="What a message with it is about")
    async def labels_add(self, interaction: Interaction, name: str, description: str) -> None:
        """Add a label or describe it anew."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        assert interaction.guild_id is not None
        await self.bot.service.set_label(interaction.guild_id, name, description)
        await _say(interaction, [f"Messages are sorted under {one_line(name)} from now on."])

    @labels.command(name="remove", description="Remove a label from every message")
    @app_commands.describe(name="What it is called")
    async def labels_remove(self, interaction: Interaction, name: str) -> None:
        """Remove a label."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        assert interaction.guild_id is not None
        removed = await self.bot.service.remove_label(interaction.guild_id, name)
        await _say(interaction, [f"{one_line(name)} is {'gone' if removed else 'not a label here'}."])


def _message_id(text: str, guild_id: int) -> int:
    match = _MESSAGE_LINK.fullmatch(text.strip())
    if match is None or (match["guild"] and int(match["guild"]) != guild_id):
        raise BadRequest("That is not the link or the id of a message of this server.")
    return int(match["message"])


def _erased(count: int) -> str:
    return f"Done: {count:,} message{' is' if count == 1 else 's are'} erased."


async def _say(interaction: Interaction, lines: list[str] | tuple[str, ...]) -> None:
    """Answer with lines, in as many messages as they take."""
    part = ""
    for line in (markdown(line)[: MESSAGE - 1] for line in lines):
        if part and len(part) + len(line) + 1 > MESSAGE:
            await interaction.followup.send(part, ephemeral=True)
            part = ""
        part += ("\n" if part else "") + line
    await interaction.followup.send(part, ephemeral=True)


async def _edit(interaction: Interaction, text: str) -> None:
    """Change the answer; after a quarter of an hour Discord no longer lets it be changed."""
    if not interaction.is_expired():
        await interaction.edit_original_response(content=text)


async def setup(bot: MnemeBot) -> None:
    """Add the cog."""
    await bot.add_cog(Memory(bot))
