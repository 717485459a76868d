"""What of a batch may be stored: nothing deleted, of nobody who said stop, nothing too old, no quotation of either."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import sqlalchemy as sa

from cogs.memory.records import IncomingMessage
from cogs.memory.storage.connection import Database, message_row, to_ms
from cogs.memory.storage.guilds import GUILDS, TOMBSTONES
from cogs.memory.storage.people import PeopleStore
from cogs.memory.storage.proxies import ProxyWatch
from cogs.memory.storage.silence import SilenceStore
from cogs.memory.storage.steady_clock import SteadyClock

DAY_MS: Final = 86_400_000


class Admission:
    """Decides inside the transaction that stores a batch, so that neither an event that is late nor a race gets by.

    Args:
        database: the connection that every store shares.
        people: asked who said stop, and before when they were forgotten.
        silence: keeps what others write free of people who said stop.
        clock: tells which messages are too old to be taken in.
        known_webhooks_only: whether messages of webhooks are left out where nobody knows whose they are.
    """

    def __init__(
        self,
        database: Database,
        people: PeopleStore,
        silence: SilenceStore,
        clock: SteadyClock,
        known_webhooks_only: bool,
    ) -> None:
        self._database = database
        self._people = people
        self._silence = silence
        self._clock = clock
        self._known_webhooks_only = known_webhooks_only
        self._proxies = ProxyWatch()

    def rows(
        self, db: sa.Connection, messages: Collection[IncomingMessage], stored: Mapping[int, Mapping[Any, Any]]
    ) -> list[dict[str, Any]]:
        """Return the rows of those messages that may be stored, as they may be.

        ``stored`` maps ids to the rows that are there already. Of a message whose author said stop its id is barred:
        what was said in that time does not come in later, and no forward of it does.
        """
        whose = {m.id: self._person_behind(m, stored.get(m.id)) for m in sorted(messages, key=lambda m: m.id)}
        people = {(user, m.guild_id) for m in messages for user in (m.author_id, whose[m.id]) if user is not None}
        silent = self._people.silent_authors(db, people)
        forgotten = self._people.forgotten_before(db, people)
        oldest = self._oldest_kept(db, messages)
        gone = self._gone(db, messages)
        buried = {message_id for message_id, _ in gone}
        rows, barred = [], []
        for message in messages:
            proxied = whose[message.id]
            persons = [(message.author_id, message.guild_id)]
            persons += [] if proxied is None else [(proxied, message.guild_id)]
            if (message.id, message.guild_id) in gone or message.forwarded_from in buried:
                continue
            if not silent.isdisjoint(persons):
                barred.append(message)
                continue
            if self._known_webhooks_only and message.webhook and proxied is None:
                continue
            row = {**message_row(message), "proxied_for": proxied}
            first = max(forgotten.get(person, 0) for person in persons)
            if row["created_ms"] < max(first, oldest.get(message.guild_id, 0)):
                continue
            row |= self._silence.quieted(db, row, message.quoted)
            if message.id in stored or row["content"].strip() or row["embed_text"] or row["attachments"]:
                rows.append(row)
        self._bar(db, [message for message in barred if message.id not in stored], silent)
        return rows

    def _person_behind(self, message: IncomingMessage, old: Mapping[Any, Any] | None) -> int | None:
        """Return the person for whom a webhook wrote a message: as its proxy says, or as we saw it."""
        self._proxies.note(message)
        known = None if old is None else old["proxied_for"]
        return message.proxied_for or known or self._proxies.person_of(message)

    def _gone(self, db: sa.Connection, messages: Collection[IncomingMessage]) -> set[tuple[int, int]]:
        """Return ``(message id, server id)`` of what is barred, of the messages and of what they forward."""
        wanted = {m.id for m in messages} | {m.forwarded_from for m in messages if m.forwarded_from is not None}
        found = sa.select(TOMBSTONES.c.message_id, TOMBSTONES.c.guild_id)
        rows = db.execute(found.where(TOMBSTONES.c.message_id.in_(self._database.ids(wanted))))
        return {(row.message_id, row.guild_id) for row in rows}

    def _bar(
        self, db: sa.Connection, messages: Collection[IncomingMessage], silent: Collection[tuple[int, int]]
    ) -> None:
        rows = [{"message_id": message.id, "guild_id": message.guild_id} for message in messages]
        self._database.insert(db, TOMBSTONES, rows)
        self._silence.note_names(
            db,
            {(m.author_id, m.guild_id, m.author_name) for m in messages if (m.author_id, m.guild_id) in silent},
        )

    def _oldest_kept(self, db: sa.Connection, messages: Collection[IncomingMessage]) -> dict[int, int]:
        """Map servers that keep messages for a while only to the time of the oldest that is kept, in milliseconds."""
        guilds = self._database.ids({message.guild_id for message in messages})
        kept_for = sa.select(GUILDS.c.id, GUILDS.c.retention_days)
        rules = db.execute(kept_for.where(GUILDS.c.id.in_(guilds), GUILDS.c.retention_days.is_not(None)))
        now = self._clock.now_ms(max(to_ms(message.created_at) for message in messages))
        return {row.id: now - row.retention_days * DAY_MS for row in rules}
