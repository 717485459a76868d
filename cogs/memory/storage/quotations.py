"""Which messages the bot's replies quote, so that a reply can be changed when one of them goes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from cogs.memory.storage.connection import MESSAGES, Database
from cogs.memory.storage.tables import Quotation, table_of

QUOTATIONS = table_of(Quotation)


@dataclass(frozen=True, slots=True)
class WithdrawnReply:
    """A reply that still shows what it may not show any more, and which of the messages that it quotes are gone.

    ``written`` where a language model wrote it, so that the whole of it rests on each of them.
    """

    id: int
    channel_id: int
    written: bool
    message_ids: frozenset[int]


class QuotationStore:
    """Ids of replies and of the messages that they quote, and no text of either. Of a person it keeps nothing.

    A message is marked as withdrawn inside the transaction that deletes or changes it, so that no crash comes between.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, reply_id: int, channel_id: int, message_ids: Collection[int], *, written: bool) -> None:
        """Record what a reply rests on now, in place of what it rested on before.

        A message that is gone already is withdrawn from the start.
        """
        wanted = sorted(set(message_ids))
        with self._database.writing() as db:
            db.execute(sa.delete(QUOTATIONS).where(QUOTATIONS.c.reply_id == reply_id))
            stored = set(db.scalars(sa.select(MESSAGES.c.id).where(MESSAGES.c.id.in_(self._database.ids(wanted)))))
            rows = [
                {
                    "reply_id": reply_id,
                    "message_id": message_id,
                    "channel_id": channel_id,
                    "written": written,
                    "withdrawn": message_id not in stored,
                }
                for message_id in wanted
            ]
            if rows:
                db.execute(sa.insert(QUOTATIONS), rows)

    def withdraw(self, db: sa.Connection, message_ids: Collection[int]) -> None:
        """Mark messages as gone or changed; what the ids name may be a reply itself, which then shows nothing."""
        if not message_ids:
            return
        ids = self._database.ids(message_ids)
        db.execute(sa.delete(QUOTATIONS).where(QUOTATIONS.c.reply_id.in_(ids)))
        db.execute(sa.update(QUOTATIONS).where(QUOTATIONS.c.message_id.in_(ids)).values(withdrawn=True))

    def withdrawn(self) -> list[WithdrawnReply]:
        """Return the replies that have to be changed."""
        query = sa.select(QUOTATIONS).where(QUOTATIONS.c.withdrawn).order_by(QUOTATIONS.c.reply_id)
        with self._database.reading() as db:
            rows = list(db.execute(query).mappings())
        found: dict[int, WithdrawnReply] = {}
        for row in rows:
            before = found.get(row["reply_id"])
            ids = (before.message_ids if before is not None else frozenset()) | {row["message_id"]}
            found[row["reply_id"]] = WithdrawnReply(row["reply_id"], row["channel_id"], row["written"], ids)
        return list(found.values())

    def changed(self, reply: WithdrawnReply, *, gone: bool) -> None:
        """Note that a reply no longer shows what was withdrawn; ``gone`` where it shows nothing at all now."""
        query = sa.delete(QUOTATIONS).where(QUOTATIONS.c.reply_id == reply.id)
        if not gone:
            query = query.where(QUOTATIONS.c.message_id.in_(self._database.ids(reply.message_ids)))
        with self._database.writing() as db:
            db.execute(query)

    def standing(self, reply_id: int) -> list[int] | None:
        """Return what a reply quotes, or ``None`` where something of it is withdrawn or it was never recorded."""
        query = sa.select(QUOTATIONS.c.message_id, QUOTATIONS.c.withdrawn).where(QUOTATIONS.c.reply_id == reply_id)
        with self._database.reading() as db:
            rows = db.execute(query).all()
        return None if not rows or any(row.withdrawn for row in rows) else [row.message_id for row in rows]
