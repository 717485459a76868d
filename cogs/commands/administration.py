"""What ``/memory …`` means, whoever asks: profile, status, channels, retention, forgetting, labels.

Every function asks first whether the asker may manage the server, and returns plain text, a line for each fact.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.commands.asker import OPERATOR_OF_THE_MACHINE, Asker, Erasure, NotAllowed, managed_guild
from cogs.commands.lookups import Suggestion, id_in, one_channel, resolve_author, visible_channels
from cogs.commands.options import clean, option
from cogs.memory.errors import BadRequest
from cogs.memory.records import ChannelInfo
from cogs.memory.storage.labels import LabelInfo
from cogs.memory.text.presentation import counted
from cogs.memory.text.sanitize import one_line
from cogs.memory.text.status_lines import profile_lines, status_lines

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

MAX_RETENTION = 3650
Progress = Callable[[str, float], Awaitable[None]]
_MESSAGE_LINK = re.compile(
    r"https?://[\w.]*discord(?:app)?\.com/channels/(?P<guild>[0-9]{1,20})/[0-9]{1,20}/(?P<message>[0-9]{15,20})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetCommand:
    """``/memory forget`` as it was typed; exactly one of the options is given."""

    channel: str | None = option("Everything said in this channel and its threads", complete="channel")
    author: str | None = option("Everything that this person wrote, even if they left", complete="author")
    message: str | None = option("One message, by its link or id")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionCommand:
    """``/memory retention`` as it was typed."""

    days: int = option(
        "Older messages are erased, now and from now on; 0 keeps them", kind="number", high=MAX_RETENTION, required=True
    )


EXPERIMENT = "Labels are an experiment: expect many that are wrong; examples help."


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCommand:
    """``/memory labels add`` and ``remove`` as they were typed."""

    name: str = option("What it is called", required=True, default="")
    description: str = option("What a message with it is about", required=True, default="", length=1000)
    examples: str = option("Messages that should have it, with | between them", default="", length=3000)


# -- profile and status ------------------------------------------------------------------------------------


async def profiles(service: MemoryService, asker: Asker) -> str:
    """List the profiles, and what this machine can run."""
    managed_guild(asker)
    return "\n".join(profile_lines(service.profiles()))


async def use_profile(service: MemoryService, asker: Asker, name: str, progress: Progress) -> str:
    """Switch to a profile while people go on asking.

    Raises:
        ProfileError: it does not exist, cannot run here, or its models failed to load; the old one goes on.
        NotAllowed: it serves other servers as well, and the asker does not run the bot.
    """
    managed_guild(asker)
    served = len(await service.guild_ids())
    if served > 1 and asker.user_id not in (service.operators | {OPERATOR_OF_THE_MACHINE}):
        raise NotAllowed(
            f"The profile serves {served:,} servers, so only whoever runs the bot can switch it: on its machine, or "
            "here where MNEME_OPERATORS names them."
        )
    name = clean(name)
    await service.use_profile(name, progress)
    return f"The profile {one_line(name)} is in use now."


def profile_suggestions(service: MemoryService, asker: Asker, typed: str) -> list[Suggestion]:
    """Return the profiles that this machine can run, while somebody types; nothing for those who may not choose."""
    if not asker.manages:
        return []
    fitting = [p for p in service.profiles() if p.runnable and typed.casefold() in p.name.casefold()]
    return [Suggestion(one_line(f"{p.name}: {p.description}", 100), p.name) for p in fitting]


async def status(service: MemoryService, asker: Asker) -> str:
    """Show the state of the memory."""
    return "\n".join(status_lines(await service.status(managed_guild(asker))))


# -- channels ----------------------------------------------------------------------------------------------


async def channels(service: MemoryService, asker: Asker) -> str:
    """List the channels that the asker can read, and whether they are remembered."""
    here = asker.scope.within(managed_guild(asker))
    lines = []
    for info in sorted(await visible_channels(service, here), key=lambda i: i.name.casefold()):
        if info.kind != "thread":
            kept = await service.is_remembered(info.guild_id, info.id)
            lines.append(f"{'●' if kept else '○'} #{one_line(info.name)}{'' if kept else ' (not remembered)'}")
    return "\n".join(lines) or "There is no channel that you can read."


async def channel_named(service: MemoryService, asker: Asker, text: str) -> ChannelInfo:
    """Return the one channel of the server that a text names, among those that the asker can read.

    Raises:
        BadRequest: there is none, or there are several.
    """
    guild_id = managed_guild(asker)
    return one_channel(clean(text), await visible_channels(service, asker.scope.within(guild_id)))


async def include_channel(service: MemoryService, asker: Asker, text: str) -> tuple[ChannelInfo, str]:
    """Begin to remember a channel; returns it and what to say."""
    channel = await channel_named(service, asker, text)
    await service.set_channel_included(channel.guild_id, channel.id, True)
    return channel, f"#{one_line(channel.name)} is remembered from now on. /memory backfill reads its past."


async def exclude_channel(service: MemoryService, asker: Asker, text: str) -> str:
    """Stop remembering a channel, and erase what was remembered of it."""
    channel = await channel_named(service, asker, text)
    await service.set_channel_included(channel.guild_id, channel.id, False)
    return f"#{one_line(channel.name)} is no longer remembered, and what was is erased."


# -- retention and forgetting ------------------------------------------------------------------------------


async def retention(service: MemoryService, asker: Asker, command: RetentionCommand) -> str:
    """Set how long messages are kept."""
    gone = await service.set_retention(managed_guild(asker), command.days or None)
    kept = f"for {command.days:,} days" if command.days else "as long as they exist"
    return f"Messages are kept {kept}. {gone or 0:,} were erased."


async def forget(service: MemoryService, asker: Asker, command: ForgetCommand) -> Erasure:
    """Erase a channel, a person or a message from the memory, once confirmed where it is more than one message.

    Raises:
        BadRequest: not exactly one of the options was given, or it names what is not there.
    """
    guild_id = managed_guild(asker)
    if sum(value is not None for value in (command.channel, command.author, command.message)) != 1:
        raise BadRequest("Name one of channel, author and message.")
    if command.message is not None:
        message_id = _message_id(command.message, guild_id)

        async def erase_message() -> str:
            # Only what is stored as this server's: an id that is not may be a message of another one.
            if not await service.holds(guild_id, message_id):
                return "That message is not in the memory."
            gone = await service.forget_messages(guild_id, [message_id])
            return "The message is erased." if gone else "That message is not in the memory."

        return Erasure(None, "Erase", erase_message)
    if command.channel is not None:
        channel = await channel_named(service, asker, command.channel)

        async def erase_channel() -> str:
            return _erased(await service.forget_channel(guild_id, channel.id, keep_record=True))

        question = f"This erases everything remembered of #{one_line(channel.name)} and its threads for good."
        return Erasure(question, "Erase", erase_channel)
    assert command.author is not None
    people = await resolve_author(service, command.author, asker.scope.within(guild_id))

    async def erase_author() -> str:
        return _erased(sum([await service.forget_person(person, guild_id) for person in people]))

    return Erasure("This erases everything that this person wrote here for good.", "Erase", erase_author)


def _message_id(text: str, guild_id: int) -> int:
    match = _MESSAGE_LINK.fullmatch(text)
    found = id_in(match["message"] if match is not None else text)
    if found is None or (match is not None and match["guild"] != str(guild_id)):
        raise BadRequest("That is not the link or the id of a message of this server.")
    return found


def _erased(count: int) -> str:
    return f"Done: {count:,} message{' is' if count == 1 else 's are'} erased."


# -- labels ------------------------------------------------------------------------------------------------


async def labels(service: MemoryService, asker: Asker) -> str:
    """List the labels that messages are sorted under."""
    found = await service.labels(managed_guild(asker))
    lines = []
    for name, description, examples in found:
        more = f" ({len(examples)} example{'' if len(examples) == 1 else 's'})" if examples else ""
        lines.append(f"{one_line(name)}: {one_line(description, 300)}{more}")
    if lines:
        lines.append(EXPERIMENT)
    return "\n".join(lines) or "There are no labels. /memory labels add makes one."


async def add_label(service: MemoryService, asker: Asker, command: LabelCommand) -> Erasure:
    """Say what a label would catch, and add it, or describe it anew, once that is confirmed.

    Raises:
        BadRequest: the name, the description or an example is empty or too long, or there are too many labels.
    """
    guild_id = managed_guild(asker)
    examples = tuple(part for part in command.examples.split("|") if part.strip())
    label = LabelInfo(command.name, command.description, examples)
    caught, looked_at = await service.try_label(asker.scope, guild_id, label)
    name = one_line(command.name)
    if caught is None:
        question = "The profile in use has no reranker, so nothing is sorted under labels until another one is chosen."
    else:
        question = f"Of the newest {counted(looked_at, 'message')} that you can read, {name} would catch {caught:,}."

    async def switch_on() -> str:
        await service.set_label(guild_id, command.name, command.description, examples)
        return f"Messages are sorted under {name} from now on, and those of the past as well, little by little."

    return Erasure(f"{question} {EXPERIMENT}", "Switch on", switch_on)


async def remove_label(service: MemoryService, asker: Asker, command: LabelCommand) -> str:
    """Remove a label from every message."""
    removed = await service.remove_label(managed_guild(asker), command.name)
    return f"{one_line(command.name)} is {'gone' if removed else 'not a label here'}."
