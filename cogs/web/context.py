"""What every door of the web needs, built once by whoever starts it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cogs.commands.asker import Asker
from cogs.memory.service import MemoryService
from cogs.web.directory import Directory, Visitor
from cogs.web.gate import Gate, Person
from cogs.web.security import PER_SECOND


def utc_now() -> dt.datetime:
    """Return the present."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class GatewayState:
    """The connection to Discord: its last heartbeat's answer in seconds, and connections after the first."""

    connected: bool
    seconds: float | None
    reconnects: int


@dataclass(frozen=True, slots=True)
class WebContext:
    """The memory, who may come in, and who they are.

    Args:
        service: The memory.
        gate: Links, sessions and tokens.
        directory: Who somebody is at this moment.
        gateway: The state of the connection to Discord; ``None`` where there is none.
        hosts: The names under which the site may be asked.
        metrics_token: What Prometheus has to send from other machines; without one only this machine may read.
        now: The clock.
        requests_per_second: How many requests of one client are answered in a second.
        notes: Lines beside the status, such as a backfill that is under way, by server.
    """

    service: MemoryService
    gate: Gate
    directory: Directory
    gateway: Callable[[], GatewayState] | None = None
    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    metrics_token: str | None = field(default=None, repr=False)
    now: Callable[[], dt.datetime] = utc_now
    requests_per_second: int = PER_SECOND
    notes: Callable[[int], Sequence[str]] = lambda _guild_id: ()

    async def visitor(self, person: Person) -> Visitor | None:
        """Return who a person is now, or ``None`` for whoever is not on the server any more."""
        return await self.directory.visitor(person)

    def asker(self, visitor: Visitor) -> Asker:
        """Return a visitor as commands know whoever asks."""
        return Asker(
            user_id=visitor.person.user_id,
            now=self.now(),
            scope=visitor.scope,
            guild_id=visitor.person.guild_id,
            manages=visitor.manager,
        )
