"""Who a person is and what they may read at this moment: asked of Discord, or of a kept picture of the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cogs.memory.access.guild_view import GuildView, MemberView
from cogs.memory.access.permissions import may_manage, reader_scope
from cogs.memory.records import Scope
from cogs.memory.service import MemoryService
from cogs.web.gate import Person


@dataclass(frozen=True, slots=True)
class Visitor:
    """A member as of this moment. ``manager`` may manage the server; ``scope`` is what they may read."""

    person: Person
    name: str
    guild_name: str
    manager: bool
    scope: Scope


class Directory(Protocol):
    """Answers who somebody is, for each request anew."""

    async def visitor(self, person: Person) -> Visitor | None:
        """Return the member as of now, or ``None`` for whoever is not, or no longer, on the server."""
        ...

    def names(self, scope: Scope) -> Mapping[int, str]:
        """Return names for the mentions inside of messages."""
        ...


class GuildViewDirectory:
    """Answers from a kept picture of the servers, where no Discord is there to ask (console and shell)."""

    def __init__(self, service: MemoryService, views: Mapping[int, GuildView]) -> None:
        self._service = service
        self._views = views

    async def visitor(self, person: Person) -> Visitor | None:
        """Return the member as the picture has them."""
        view = self._views.get(person.guild_id)
        member = None if view is None else _member(view, person.user_id)
        if view is None or member is None:
            return None
        known = view.with_known(await self._service.channels(person.guild_id))
        return Visitor(person, member.name, known.name, may_manage(known, member), reader_scope(known, member, None))

    def names(self, scope: Scope) -> Mapping[int, str]:
        """Return the names of roles and channels of the scope."""
        names: dict[int, str] = {}
        for guild_id, channels in scope.channels.items():
            view = self._views.get(guild_id)
            if view is not None:
                names.update((role.id, role.name) for role in view.roles)
                names.update((channel.id, channel.name) for channel in view.channels if channel.id in channels)
        return names


def _member(view: GuildView, user_id: int) -> MemberView | None:
    return next((member for member in view.members if member.id == user_id), None)
