"""The channels, people and labels that a person names → ids, within what that person may read."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogs.commands.asker import Asker
from cogs.commands.options import Completion, clean
from cogs.memory.access.guild_view import GuildView, MemberView
from cogs.memory.errors import BadRequest
from cogs.memory.recall.dates import parse_when
from cogs.memory.records import ChannelInfo, Scope
from cogs.memory.text.bounds import LARGEST_ID
from cogs.memory.text.sanitize import one_line

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

CHOICES = 25
NAMESAKES = 1_000
"""How many people whose names hold the words are looked at for the one who is called exactly that."""
_ID = re.compile(r"<[@#][!&]?([0-9]{1,20})>|([0-9]{15,20})")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What is offered while a person types: a name to read, and the value that stands for it."""

    name: str
    value: str


def id_in(text: str) -> int | None:
    """Return the id that a text is: ``123456789012345678``, ``<#…>`` or ``<@…>``."""
    match = _ID.fullmatch(text.strip())
    found = int(match[1] or match[2]) if match else None
    return found if found is None or found <= LARGEST_ID else None


async def visible_channels(service: MemoryService, scope: Scope) -> list[ChannelInfo]:
    """Return the channels of a scope that the memory knows by name."""
    found: list[ChannelInfo] = []
    for guild_id, channel_ids in scope.channels.items():
        found += [info for info in await service.channels(guild_id) if info.id in channel_ids]
    return found


def resolve_channel(text: str, visible: Iterable[ChannelInfo]) -> frozenset[int]:
    """Return the ids of a channel, given by name, mention or id, and of its threads.

    Raises:
        BadRequest: there is none among the visible ones; the words do not tell whether there is one elsewhere.
    """
    visible = list(visible)
    named = {info.id for info in _called(text, visible)}
    return frozenset(named | {info.id for info in visible if info.kind == "thread" and info.parent_id in named})


def one_channel(text: str, visible: Iterable[ChannelInfo]) -> ChannelInfo:
    """Return the one channel that a text names.

    Raises:
        BadRequest: there is none among the visible ones, or there are several.
    """
    found = _called(text, visible)
    if len(found) > 1:
        raise BadRequest(f"Several channels are called “{_shown(text)}”; name one by its id: {_ids(found)}.")
    return found[0]


def _called(text: str, visible: Iterable[ChannelInfo]) -> list[ChannelInfo]:
    wanted, name = id_in(text), text.strip().removeprefix("#").casefold()
    found = [info for info in visible if info.id == wanted or info.name.casefold() == name]
    if not found:
        raise BadRequest(f"There is no channel “{_shown(text)}” that you can read.")
    return found


def _ids(channels: list[ChannelInfo]) -> str:
    return ", ".join(str(info.id) for info in channels[:3])


async def resolve_author(service: MemoryService, text: str, scope: Scope) -> frozenset[int]:
    """Return the ids of an author, given by name, mention or id; people who left are found as well.

    Raises:
        BadRequest: nobody of that name wrote in the scope, or it is the beginning of several names.
    """
    wanted = id_in(text)
    if wanted is not None:
        return frozenset({wanted})
    name = clean(text).removeprefix("@")
    found = await service.authors(scope, name, NAMESAKES) if name else []
    exact = frozenset(author for author, known in found if known.casefold() == name.casefold())
    if exact or len(found) == 1:
        return exact or frozenset({found[0][0]})
    if found:
        names = ", ".join(one_line(known, 40) for _, known in found[:3])
        raise BadRequest(f"Several people are called something like “{_shown(name)}” ({names}); choose one.")
    raise BadRequest(f"Nobody called “{_shown(name)}” has written anything that you can read.")


async def resolve_label(service: MemoryService, text: str, scope: Scope) -> str:
    """Return a label as it is spelt on the servers of a scope.

    Raises:
        BadRequest: there is none of that name.
    """
    known = [name for guild_id in scope.channels for name, *_ in await service.labels(guild_id)]
    wanted = clean(text).casefold()
    for name in known:
        if name.casefold() == wanted:
            return name
    if not known:
        raise BadRequest(f"There is no label “{_shown(text)}”: messages are not sorted under labels here.")
    names = ", ".join(one_line(name, 50) for name in sorted(set(known)))
    raise BadRequest(f"There is no label “{_shown(text)}”; choose one of {names}.")


def member_named(view: GuildView, wanted: str) -> MemberView:
    """Return a member by id or name.

    Raises:
        BadRequest: nobody is called that.
    """
    for member in view.members:
        if wanted in (str(member.id), member.name) or wanted.casefold() == member.name.casefold():
            return member
    names = ", ".join(one_line(member.name, 40) for member in view.members)
    raise BadRequest(f"There is no member “{_shown(wanted)}”; choose one of {names}.")


async def read_date(text: str | None, asker: Asker) -> dt.datetime | None:
    """Return the time that an option means, if it was given; off the event loop, because some wordings take long.

    Raises:
        BadRequest: it is no date.
    """
    return None if text is None else await asyncio.to_thread(parse_when, text, asker.now, tz=asker.zone)


async def suggestions(service: MemoryService, asker: Asker, kind: Completion, typed: str) -> list[Suggestion]:
    """Return what to offer for an option while somebody types, at most 25, out of what they may read."""
    typed = clean(typed)
    if kind == "author":
        people = await service.authors(asker.scope, typed.removeprefix("@"), CHOICES)
        return [_suggestion(name, str(author)) for author, name in people]
    if kind == "label":
        known = {name for guild_id in asker.scope.channels for name, *_ in await service.labels(guild_id)}
        fitting = sorted(name for name in known if typed.casefold() in name.casefold())
        return [_suggestion(name, name) for name in fitting[:CHOICES]]
    wanted = typed.removeprefix("#").casefold()
    channels = [info for info in await visible_channels(service, asker.scope) if wanted in info.name.casefold()]
    channels.sort(key=lambda info: (info.kind == "thread", info.name.casefold()))
    return [_suggestion(f"#{info.name}", str(info.id)) for info in channels[:CHOICES]]


def _suggestion(name: str, value: str) -> Suggestion:
    return Suggestion(one_line(name, 100) or value, value[:100])


def _shown(text: str) -> str:
    return one_line(text.strip(), 80)


def one_guild(wanted: int | None, known: list[int]) -> int:
    """Return the server to search.

    Raises:
        BadRequest: there is none, the wanted one is not remembered, or it must be named.
    """
    if not known:
        raise BadRequest("Nothing is remembered yet; import an export or run the bot first.")
    if wanted is None:
        if len(known) > 1:
            raise BadRequest(f"Several servers are remembered; name one with --guild: {', '.join(map(str, known))}.")
        return known[0]
    if wanted not in known:
        raise BadRequest(f"The server {wanted} is not remembered.")
    return wanted
