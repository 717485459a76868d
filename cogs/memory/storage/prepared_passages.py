"""Passages that were encoded ahead of a query, in the database: bounded, and gone with the message's text.

A passage is keyed by message and by model, revision, chunk size and text hash. An edit or a deletion of the message,
or of the message that it answers, deletes it in the same transaction; what is written late is written only where the
message still stands as it was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import sqlalchemy as sa

from cogs.memory.records import PreparedPassage, StoredMessage
from cogs.memory.storage.connection import MESSAGES, Database
from cogs.memory.storage.tables import INDEXED, PENDING, PreparedPassageRow, table_of

PASSAGES: Final = table_of(PreparedPassageRow)
KEPT: Final = 200_000
"""Messages whose passage is kept; about 10 KB each for the smallest model and a chat message."""
PRUNED_EVERY: Final = 1_000


class ReadMessage(Protocol):
    """A message as it was read for encoding."""

    @property
    def message(self) -> StoredMessage:
        """The message."""

    @property
    def revision(self) -> int:
        """Its revision at that time."""


class PassageStore:
    """Reads and writes passages; one for each message, of the model that encoded it last.

    Of a person it keeps the encoded text of their messages and of what these answer; it goes with either message.
    """

    def __init__(self, database: Database, kept: int = KEPT) -> None:
        self._database = database
        self._kept = kept
        self._since_pruned = 0

    def load(self, wanted: Mapping[int, str]) -> dict[int, bytes]:
        """Return the passages by message id that are there under exactly the wanted keys."""
        if not wanted:
            return {}
        query = sa.select(PASSAGES).where(PASSAGES.c.message_id.in_(self._database.ids(list(wanted))))
        with self._database.reading() as db:
            rows = db.execute(query)
            return {row.message_id: row.data for row in rows if wanted[row.message_id] == row.key}

    def save(self, items: Sequence[ReadMessage], passages: Sequence[PreparedPassage]) -> int:
        """Store the passages of messages that still stand as they were read; return how many."""
        found = {item.message.id: (item.revision, p) for item, p in zip(items, passages, strict=True)}
        with self._database.writing() as db:
            wanted = self._database.ids(list(found))
            standing = sa.select(MESSAGES.c.id, MESSAGES.c.revision).where(
                MESSAGES.c.id.in_(wanted), MESSAGES.c.index_state == INDEXED
            )
            kept = [row.id for row in db.execute(standing) if row.revision == found[row.id][0]]
            if not kept:
                return 0
            db.execute(sa.delete(PASSAGES).where(PASSAGES.c.message_id.in_(self._database.ids(kept))))
            rows = [{"message_id": i, "key": found[i][1].key, "data": found[i][1].data} for i in kept]
            db.execute(sa.insert(PASSAGES), rows)
            self._since_pruned += len(kept)
            if self._since_pruned >= min(PRUNED_EVERY, self._kept):
                self._since_pruned = 0
                self._prune(db)
        return len(kept)

    def queue_missing(self, form: str) -> int:
        """Queue the newest messages that have no passage of a form, after a change of model; return how many."""
        has = sa.select(PASSAGES.c.message_id).where(
            PASSAGES.c.message_id == MESSAGES.c.id, PASSAGES.c.key.startswith(f"{form}:", autoescape=True)
        )
        with self._database.writing() as db:
            # What stands beyond the bound would be encoded and pruned, again and again.
            oldest = db.scalar(sa.select(MESSAGES.c.id).order_by(MESSAGES.c.id.desc()).offset(self._kept).limit(1))
            lacking = (MESSAGES.c.index_state == INDEXED, ~sa.exists(has), MESSAGES.c.id > (oldest or 0))
            return int(db.execute(sa.update(MESSAGES).where(*lacking).values(index_state=PENDING)).rowcount)

    def _prune(self, db: sa.Connection) -> None:
        """Delete the passages of the oldest messages beyond those that are kept."""
        newest = sa.select(PASSAGES.c.message_id).order_by(PASSAGES.c.message_id.desc())
        last = db.scalar(newest.offset(self._kept).limit(1))
        if last is not None:
            db.execute(sa.delete(PASSAGES).where(PASSAGES.c.message_id <= last))
