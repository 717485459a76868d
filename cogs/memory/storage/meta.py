"""Small facts about this memory."""

from __future__ import annotations

import sqlalchemy as sa

from cogs.memory.storage.connection import META, Database


class MetaStore:
    """Small facts by name: the profile in use. Of a person it keeps nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> str | None:
        """Return a small fact, or None."""
        with self._database.reading() as db:
            value: str | None = db.scalar(sa.select(META.c.value).where(META.c.key == key))
            return value

    def set(self, key: str, value: str) -> None:
        """Record a small fact."""
        with self._database.writing() as db:
            if not db.execute(sa.update(META).where(META.c.key == key).values(value=value)).rowcount:
                db.execute(sa.insert(META).values(key=key, value=value))
