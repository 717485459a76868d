"""Do rows, keyword index and vectors agree? And the way back where they do not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from cogs.memory.storage.connection import MESSAGES
from cogs.memory.storage.database import storage_errors
from cogs.memory.storage.guilds import TOMBSTONES
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.tables import INDEXED, PENDING
from cogs.memory.storage.vectors import VECTORS

_KEYWORD_IDS: sa.Select[int] = sa.select(sa.literal_column("keywords.rowid")).select_from(sa.text("keywords"))


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared; every number but ``messages`` and ``queued`` is 0 where the stores agree."""

    messages: int
    queued: int
    without_keywords: int
    stray_keywords: int
    without_vector: int
    stray_vectors: int
    undead: int
    intact: bool
    stray_indexed: int = 0
    lacking_indexed: int = 0

    @property
    def agrees(self) -> bool:
        """Whether nothing is wrong."""
        rows = (self.without_keywords, self.stray_keywords, self.without_vector, self.stray_vectors, self.undead)
        return self.intact and not any(rows) and not self.stray_indexed and not self.lacking_indexed

    @property
    def sentence(self) -> str:
        """What a person reads."""
        if self.agrees:
            return f"rows, keywords and vectors of {self.messages:,} messages agree ({self.queued:,} still queued)"
        return (
            f"of {self.messages:,} messages {self.without_keywords:,} lack keywords and {self.without_vector:,} their "
            f"vector; {self.stray_keywords:,} keyword entries, {self.stray_vectors:,} vectors and {self.undead:,} "
            f"deleted messages are left over; {self.lacking_indexed:,} vectors are missing in the index and "
            f"{self.stray_indexed:,} left over{'' if self.intact else '; the database file is damaged'}"
        )


def count_messages(engine: sa.Engine) -> int:
    """Return how many messages a database holds."""
    with storage_errors(), engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(MESSAGES)) or 0)


def verify_stores(repository: Repository) -> Verification:
    """Compare rows, keyword index, vectors and tombstones in one read transaction."""
    with repository.database.reading() as db:

        def count(query: sa.Select[int]) -> int:
            return int(db.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0)

        with_vector = sa.select(VECTORS.c.message_id)
        ids = sa.select(MESSAGES.c.id)
        return Verification(
            messages=count(ids),
            queued=count(ids.where(MESSAGES.c.index_state == PENDING)),
            without_keywords=count(ids.where(MESSAGES.c.id.not_in(_KEYWORD_IDS))),
            stray_keywords=count(_KEYWORD_IDS.where(sa.literal_column("keywords.rowid").not_in(ids))),
            without_vector=count(ids.where(MESSAGES.c.index_state == INDEXED, MESSAGES.c.id.not_in(with_vector))),
            stray_vectors=count(with_vector.where(VECTORS.c.message_id.not_in(ids))),
            undead=count(sa.select(TOMBSTONES.c.message_id).where(TOMBSTONES.c.message_id.in_(ids))),
            intact=repository.database.is_intact(),
        )


def repair_stores(repository: Repository, data_dir: Path) -> Verification:
    """Make everything agree with the rows again; what needs a model is queued, snapshots are made anew."""
    with repository.database.reading() as db:
        lacking = list(db.scalars(sa.select(MESSAGES.c.id).where(MESSAGES.c.id.not_in(_KEYWORD_IDS))))
        unknown = _KEYWORD_IDS.where(sa.literal_column("keywords.rowid").not_in(sa.select(MESSAGES.c.id)))
        stray = [int(row[0]) for row in db.execute(unknown)]
        buried = sa.select(TOMBSTONES.c.message_id)
        undead = db.execute(sa.select(MESSAGES.c.guild_id, MESSAGES.c.id).where(MESSAGES.c.id.in_(buried))).fetchall()
    for guild_id, message_id in undead:
        repository.messages.delete(guild_id, [message_id], lambda _: None)
    with repository.database.writing() as db:
        repository.keywords.delete(db, stray)
        db.execute(sa.delete(VECTORS).where(VECTORS.c.message_id.not_in(sa.select(MESSAGES.c.id))))
        db.execute(
            sa.update(MESSAGES)
            .where(MESSAGES.c.index_state != PENDING, MESSAGES.c.id.not_in(sa.select(VECTORS.c.message_id)))
            .values(index_state=PENDING)
        )
    repository.messages.rewrite_keywords(lacking)
    shutil.rmtree(data_dir / "indexes", ignore_errors=True)
    return verify_stores(repository)
