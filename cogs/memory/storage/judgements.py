"""Which hits somebody called right or wrong for a question: a server's own evaluation set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from cogs.memory.records import JsonObject, Scope, StoredMessage
from cogs.memory.storage.connection import MESSAGES, Database, stored_message
from cogs.memory.storage.scope import ScopedReader
from cogs.memory.storage.tables import Judgement, table_of

JUDGEMENTS = table_of(Judgement)
BATCH = 2000


@dataclass(frozen=True, slots=True)
class Judged:
    """A question and the messages that were called right and wrong for it."""

    query: str
    right: frozenset[int]
    wrong: frozenset[int]


class JudgementStore:
    """Marks of right and wrong.

    Of a person it keeps who judged and what they asked: both go when they are forgotten, and a mark goes with its
    message.
    Whoever reads the marks sees those of messages within their scope only.
    """

    def __init__(self, database: Database, scoped: ScopedReader) -> None:
        self._database = database
        self._scoped = scoped

    def mark(self, scope: Scope, query: str, message_id: int, right: bool, user_id: int) -> bool:
        """Record a mark, in the place of an earlier one of the same question.

        Args:
            scope: what the judge may read.
            query: the question.
            message_id: the message.
            right: whether it answers.
            user_id: who says so.

        Returns:
            Whether the message exists and lies in the scope.
        """
        with self._database.writing() as db:
            guild_id = db.scalar(
                sa.select(MESSAGES.c.guild_id).where(MESSAGES.c.id == message_id, self._scoped.in_scope(scope))
            )
            if guild_id is None:
                return False
            db.execute(sa.delete(JUDGEMENTS).where(JUDGEMENTS.c.message_id == message_id, JUDGEMENTS.c.query == query))
            row = {"message_id": message_id, "query": query, "guild_id": guild_id, "right": right, "user_id": user_id}
            db.execute(sa.insert(JUDGEMENTS).values(row))
            return True

    def of_scope(self, scope: Scope) -> list[Judged]:
        """Return the judged questions whose messages lie in a scope, by their words."""
        query = (
            sa.select(JUDGEMENTS.c.query, JUDGEMENTS.c.message_id, JUDGEMENTS.c.right)
            .join(MESSAGES, MESSAGES.c.id == JUDGEMENTS.c.message_id)
            .where(self._scoped.in_scope(scope))
            .order_by(JUDGEMENTS.c.query)
        )
        marks: dict[str, tuple[set[int], set[int]]] = {}
        with self._database.reading() as db:
            for words, message_id, right in db.execute(query):
                marks.setdefault(words, (set(), set()))[0 if right else 1].add(message_id)
        return [Judged(words, frozenset(right), frozenset(wrong)) for words, (right, wrong) in marks.items()]

    def forget_person(self, user_id: int, guild_id: int | None) -> None:
        """Erase the marks that a person made, and with them what they asked, in one server or in all."""
        query = sa.delete(JUDGEMENTS).where(JUDGEMENTS.c.user_id == user_id)
        with self._database.writing() as db:
            db.execute(query if guild_id is None else query.where(JUDGEMENTS.c.guild_id == guild_id))

    def by_person(self, user_id: int, guild_id: int | None) -> list[JsonObject]:
        """Return the marks that a person made, for their export."""
        query = sa.select(JUDGEMENTS).where(JUDGEMENTS.c.user_id == user_id).order_by(JUDGEMENTS.c.message_id)
        if guild_id is not None:
            query = query.where(JUDGEMENTS.c.guild_id == guild_id)
        with self._database.reading() as db:
            return [
                {"query": row.query, "message_id": str(row.message_id), "right": row.right} for row in db.execute(query)
            ]

    def corpus(self, guild_id: int) -> Iterator[StoredMessage]:
        """Yield every message of the channels of a server in which something was judged, in order of their ids."""
        channels = (
            sa.select(MESSAGES.c.channel_id)
            .join(JUDGEMENTS, JUDGEMENTS.c.message_id == MESSAGES.c.id)
            .where(JUDGEMENTS.c.guild_id == guild_id)
            .distinct()
        )
        query = sa.select(MESSAGES).where(MESSAGES.c.guild_id == guild_id, MESSAGES.c.channel_id.in_(channels))
        last = 0
        while True:
            batch = query.where(MESSAGES.c.id > last).order_by(MESSAGES.c.id).limit(BATCH)
            with self._database.reading() as db:
                rows = list(db.execute(batch).mappings())
            if not rows:
                return
            yield from map(stored_message, rows)
            last = rows[-1]["id"]
