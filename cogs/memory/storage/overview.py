"""Counts of what is remembered, for the page: by day, by channel, and the size of the database."""

from __future__ import annotations

import sqlalchemy as sa

from cogs.memory.records import Scope
from cogs.memory.storage.connection import MESSAGES, Database
from cogs.memory.storage.scope import ScopedReader

DAY_MS = 86_400_000


class OverviewRows:
    """Counts within the scope of whoever looks. It keeps nothing of a person."""

    def __init__(self, database: Database, scoped: ScopedReader) -> None:
        self._database = database
        self._scoped = scoped

    def by_day(self, scope: Scope, since_ms: int) -> dict[int, int]:
        """Map days, counted from 1970 in UTC, to the messages of a scope since a time."""
        # The operator of both databases rounds towards zero for positive numbers.
        day = MESSAGES.c.created_ms.op("/")(DAY_MS)
        query = (
            sa.select(day, sa.func.count())
            .where(self._scoped.in_scope(scope), MESSAGES.c.created_ms >= since_ms)
            .group_by(sa.text("1"))
        )
        with self._database.reading() as db:
            return {int(row[0]): int(row[1]) for row in db.execute(query)}

    def by_channel(self, scope: Scope) -> dict[int, int]:
        """Map the channels and threads of a scope to their messages."""
        query = (
            sa.select(MESSAGES.c.channel_id, sa.func.count())
            .where(self._scoped.in_scope(scope))
            .group_by(MESSAGES.c.channel_id)
        )
        with self._database.reading() as db:
            return {int(row[0]): int(row[1]) for row in db.execute(query)}

    def database_bytes(self) -> int:
        """Return the size of the database's files, write-ahead log aside."""
        with self._database.reading() as db:
            if not self._database.sqlite:
                return int(db.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())
            pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
            return int(pages) * int(db.exec_driver_sql("PRAGMA page_size").scalar_one())
