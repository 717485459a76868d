"""What a person typed into the options of a command → what it means within their scope. Pure but for the service."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cogs.memory.access.permissions import GuildSnapshot, MemberView
from cogs.memory.errors import BadRequest
from cogs.memory.recall.dates import parse_when
from cogs.memory.records import ChannelInfo, Scope
from cogs.memory.service import MemoryService

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

_ID = re.compile(r"<[@#][!&]?(\d{1,20})>|(\d{15,20})")
CHOICES = 25


def id_in(text: str) -> int | None:
    """Return the id that a text is: ``123456789012345678``, ``<#…>`` or ``<@…>``."""
    match = _ID.fullmatch(text.strip())
    return int(match[1] or match[2]) if match else None


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
    wanted, name = id_in(text), text.strip().removeprefix("#").casefold()
    named = {info.id for info in visible if info.id == wanted or info.name.casefold() == name}
    if not named:
        raise BadRequest(f"There is no channel “{text.strip()[:80]}” that you can read.")
    return frozenset(named | {info.id for info in visible if info.kind == "thread" and info.parent_id in named})


async def resolve_author(service: MemoryService, text: str, scope: Scope) -> frozenset[int]:
    """Return the ids of an author, given by name, mention or id; people who left are found as well.

    Raises:
        BadRequest: nobody of that name wrote in the scope.
    """
    wanted = id_in(text)
    if wanted is not None:
        return frozenset({wanted})
    name = text.strip().removeprefix("@")
    found = await service.authors(scope, name, CHOICES)
    exact = frozenset(author for author, known in found if known.casefold() == name.casefold())
    if exact or len(found) == 1:
        return exact or frozenset({found[0][0]})
    if found:
        names = ", ".join(known[:40] for _, known in found[:3])
        raise BadRequest(f"Several people are called something like “{name[:80]}” ({names}); choose one.")
    raise BadRequest(f"Nobody called “{name[:80]}” has written anything that you can read.")


async def read_date(text: str | None, now: dt.datetime) -> dt.datetime | None:
    """Return the time that an option means, if it was given; off the event loop, because some wordings take long.

    Raises:
        BadRequest: it is no date.
    """
    return None if text is None else await asyncio.to_thread(parse_when, text, now)


def check_range(after: dt.datetime | None, before: dt.datetime | None) -> None:
    """Refuse a range of time that holds nothing.

    Raises:
        BadRequest: ``after`` is not before ``before``.
    """
    if after is not None and before is not None and after >= before:
        raise BadRequest("Nothing lies between these dates: “after” must be earlier than “before”.")


def member_named(snapshot: GuildSnapshot, wanted: str) -> MemberView:
    """Return a member by id or name.

    Raises:
        BadRequest: nobody is called that.
    """
    for member in snapshot.members:
        if wanted in (str(member.id), member.name) or wanted.casefold() == member.name.casefold():
            return member
    raise BadRequest(f"There is no member {wanted!r}; choose one of {', '.join(m.name for m in snapshot.members)}.")


def _named(channels: list[ChannelInfo], scope: Scope, wanted: tuple[str, ...]) -> frozenset[int]:
    found = set()
    for name in wanted:
        key = name.lstrip("#").casefold()
        matches = {c.id for c in channels if key in (str(c.id), c.name.casefold())} & scope.channel_ids
        if not matches:
            # One that the reader cannot see is answered as if it did not exist.
            raise BadRequest(f"There is no channel {name!r}.")
        found |= matches
    return frozenset(found)


async def _authors(service: MemoryService, scope: Scope, wanted: str) -> frozenset[int]:
    people = await service.authors(scope, "" if wanted.isdigit() else wanted, 200)
    exact = {i for i, name in people if wanted in (str(i), name) or name.casefold() == wanted.casefold()}
    found = exact or {i for i, _ in people if not wanted.isdigit()}
    if not found:
        raise BadRequest(f"Nobody called {wanted!r} is remembered here.")
    return frozenset(found)
