"""An administrator's labels, and which messages carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from cogs.memory.records import StoredMessage
from cogs.memory.storage.connection import MESSAGES, Database, stored_message
from cogs.memory.storage.tables import Label, MessageLabel, table_of

LABELS = table_of(Label)
MESSAGE_LABELS = table_of(MessageLabel)
JUDGED = ""
"""The name of the row that says: this message was judged under the labels of now, whatever came of it."""


class LabelInfo(NamedTuple):
    """A label, and the sentence and examples that a message is judged against."""

    name: str
    description: str
    examples: tuple[str, ...] = ()


def _info(row: sa.Row[Any]) -> LabelInfo:
    return LabelInfo(row.name, row.description, tuple(row.examples.split("\n")) if row.examples else ())


class LabelStore:
    """A server's labels, and which messages carry them.

    Of a person it keeps which labels their messages carry; these go with the message, in the same transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_guild(self, guild_id: int) -> list[LabelInfo]:
        """Return the labels of a server, by name."""
        with self._database.reading() as db:
            rows = db.execute(sa.select(LABELS).where(LABELS.c.guild_id == guild_id).order_by(LABELS.c.name))
            return [_info(row) for row in rows]

    def guilds(self) -> list[int]:
        """Return the servers that have labels."""
        with self._database.reading() as db:
            return list(db.scalars(sa.select(LABELS.c.guild_id).distinct()))

    def set(self, guild_id: int, name: str, description: str, examples: Sequence[str] = ()) -> None:
        """Add a label or describe it anew; every message is judged again."""
        with self._database.writing() as db:
            db.execute(sa.delete(LABELS).where(LABELS.c.guild_id == guild_id, LABELS.c.name == name))
            db.execute(
                sa.insert(LABELS).values(
                    guild_id=guild_id, name=name, description=description, examples="\n".join(examples)
                )
            )
            db.execute(sa.delete(MESSAGE_LABELS).where(MESSAGE_LABELS.c.guild_id == guild_id))

    def remove(self, guild_id: int, name: str) -> bool:
        """Remove a label from the server and from every message; return whether it was there."""
        with self._database.writing() as db:
            gone = db.execute(sa.delete(LABELS).where(LABELS.c.guild_id == guild_id, LABELS.c.name == name))
            if gone.rowcount:
                # What was best among the labels may be another one now.
                db.execute(sa.delete(MESSAGE_LABELS).where(MESSAGE_LABELS.c.guild_id == guild_id))
            return bool(gone.rowcount)

    def unjudged(self, guild_id: int, limit: int) -> list[tuple[StoredMessage, int]]:
        """Return messages that were not judged under the labels of now, the newest first, with their revisions."""
        judged = sa.exists(
            sa.select(MESSAGE_LABELS.c.message_id).where(
                MESSAGE_LABELS.c.message_id == MESSAGES.c.id, MESSAGE_LABELS.c.name == JUDGED
            )
        )
        query = sa.select(MESSAGES).where(MESSAGES.c.guild_id == guild_id, ~judged).order_by(MESSAGES.c.id.desc())
        with self._database.reading() as db:
            rows = db.execute(query.limit(limit)).mappings()
            return [(stored_message(row), row["revision"]) for row in rows]

    def save(
        self, guild_id: int, known: Sequence[LabelInfo], judged: Sequence[tuple[int, int, str | None, float]]
    ) -> int:
        """Store ``(message id, revision, label or None, probability)``; returns how many were stored.

        What was edited or deleted meanwhile is left out, and everything is where the labels are others by now.
        """
        with self._database.writing() as db:
            now = db.execute(sa.select(LABELS).where(LABELS.c.guild_id == guild_id).order_by(LABELS.c.name))
            if [_info(row) for row in now] != list(known):
                return 0
            ids = self._database.ids([message_id for message_id, *_ in judged])
            found = db.execute(sa.select(MESSAGES.c.id, MESSAGES.c.revision).where(MESSAGES.c.id.in_(ids)))
            revisions = {row.id: row.revision for row in found}
            rows = []
            for message_id, revision, label, probability in judged:
                if revisions.get(message_id) == revision:
                    names = (JUDGED,) if label is None else (JUDGED, label)
                    rows += [
                        {"message_id": message_id, "guild_id": guild_id, "name": name, "probability": probability}
                        for name in names
                    ]
            if rows:
                db.execute(sa.delete(MESSAGE_LABELS).where(MESSAGE_LABELS.c.message_id.in_(ids)))
                db.execute(sa.insert(MESSAGE_LABELS), rows)
            return len({row["message_id"] for row in rows})
