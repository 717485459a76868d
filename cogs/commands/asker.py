"""Who asks a command, and what follows from that: what they may read, whether they manage the server, their clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cogs.memory.errors import BadRequest
from cogs.memory.records import Scope

ADMINISTRATOR, MANAGE_GUILD = 1 << 3, 1 << 5
OPERATOR_OF_THE_MACHINE = 0
REFUSAL = "Only people who may manage this server can do that."
NOT_HERE = "This works in a server only."


class NotAllowed(BadRequest):
    """The person may not use this command; the text is the sentence that they see."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The person who gives a command, as the door through which they came knows them.

    Args:
        user_id: Their id; 0 for the operator of the machine, who is nobody's member.
        now: The present, aware; "yesterday" is measured from it.
        scope: What they may read at this moment. The default is nothing at all.
        guild_id: The server in which they ask; ``None`` in a direct message.
        manages: Whether they may manage that server.
        zone: The time zone in which their days begin.
    """

    user_id: int
    now: dt.datetime
    scope: Scope = field(default_factory=lambda: Scope({}))
    guild_id: int | None = None
    manages: bool = False
    zone: dt.tzinfo = dt.UTC


@dataclass(frozen=True, slots=True)
class Erasure:
    """Something that will be erased for good: what to ask the person first, and how to do it.

    ``question`` is ``None`` where there is nothing to ask. ``erase`` returns the sentence that says what was done.
    """

    question: str | None
    button: str
    erase: Callable[[], Awaitable[str]]


def may_manage(permissions: int) -> bool:
    """Return whether Discord's permission bits let somebody manage a server."""
    return bool(permissions & (ADMINISTRATOR | MANAGE_GUILD))


def managed_guild(asker: Asker) -> int:
    """Return the id of the server that the asker manages.

    Raises:
        NotAllowed: they ask outside of a server, or may not manage it.
    """
    if asker.guild_id is None:
        raise NotAllowed(NOT_HERE)
    if not asker.manages:
        raise NotAllowed(REFUSAL)
    return asker.guild_id
