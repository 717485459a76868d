"""Vectors, and the queue of messages that wait for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from cogs.memory.records import StoredMessage
from cogs.memory.storage.connection import MESSAGES, Database, stored_message
from cogs.memory.storage.tables import FAILED, INDEXED, PENDING, Vector, table_of

VECTORS = table_of(Vector)


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A message that waits for its vector, with the text that it answers."""

    message: StoredMessage
    revision: int
    parent: StoredMessage | None


class VectorRows:
    """The vectors as rows, from which every index can be rebuilt, and the queue.

    Of a person it keeps a vector for each of their messages under each embedder, computed from its text and from the
    text that it answers. It goes with the message, in the same transaction; it is no part of an export, because it
    says nothing that the text does not.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def pending(self, limit: int) -> list[PendingMessage]:
        """Return up to ``limit`` messages that wait for their vector, oldest first."""
        query = sa.select(MESSAGES).where(MESSAGES.c.index_state == PENDING).order_by(MESSAGES.c.id).limit(limit)
        with self._database.reading() as db:
            return self._with_parents(db, query)

    def without_vector(self, model_key: str, after_id: int, limit: int) -> list[PendingMessage]:
        """Return messages that have no vector of a model yet, by id, for a change of embedder."""
        has = sa.select(VECTORS.c.message_id).where(
            VECTORS.c.message_id == MESSAGES.c.id, VECTORS.c.model_key == model_key
        )
        query = (
            sa.select(MESSAGES).where(MESSAGES.c.id > after_id, ~sa.exists(has)).order_by(MESSAGES.c.id).limit(limit)
        )
        with self._database.reading() as db:
            return self._with_parents(db, query)

    def count_without_vector(self, model_key: str) -> int:
        """Return how many messages have no vector of a model."""
        has = sa.select(VECTORS.c.message_id).where(
            VECTORS.c.message_id == MESSAGES.c.id, VECTORS.c.model_key == model_key
        )
        with self._database.reading() as db:
            return int(db.scalar(sa.select(sa.func.count()).select_from(MESSAGES).where(~sa.exists(has))) or 0)

    def queue_missing(self, model_key: str) -> None:
        """Queue every message that lacks a vector of the embedder in use; said at start and after a switch."""
        has = sa.select(VECTORS.c.message_id).where(
            VECTORS.c.message_id == MESSAGES.c.id, VECTORS.c.model_key == model_key
        )
        with self._database.writing() as db:
            db.execute(
                sa.update(MESSAGES)
                .where(MESSAGES.c.index_state != PENDING, ~sa.exists(has))
                .values(index_state=PENDING)
            )

    def _with_parents(self, db: sa.Connection, query: sa.Select[tuple[object, ...]]) -> list[PendingMessage]:
        rows = list(db.execute(query).mappings())
        parent_ids = [row["reply_to_id"] for row in rows if row["reply_to_id"] is not None]
        parents = {
            row["id"]: stored_message(row)
            for row in db.execute(
                sa.select(MESSAGES).where(MESSAGES.c.id.in_(self._database.ids(parent_ids)))
            ).mappings()
        }
        return [PendingMessage(stored_message(row), row["revision"], parents.get(row["reply_to_id"])) for row in rows]

    def save(
        self,
        model_key: str,
        items: Sequence[PendingMessage],
        vectors: npt.NDArray[np.float32],
        after_commit: Callable[[list[int], list[int]], None],
        *,
        mark_indexed: bool = True,
    ) -> int:
        """Store vectors of shape (n, dim) for messages that still stand as they were read; return how many.

        ``after_commit`` gets the positions that were written and their change numbers, and puts them into the index
        while nobody else may write: a deletion comes wholly before or wholly after.

        Args:
            model_key: identifies the embedder.
            items: n messages as they were read.
            vectors: shape (n, dim).
            after_commit: gets the positions that were written and their change numbers, and puts them into the index
                while nobody else may write: a deletion comes wholly before or wholly after.
            mark_indexed: whether the messages leave the queue.
        """
        blobs = vectors.astype(np.float16)
        with self._database.write_lock:
            with self._database.writing() as db:
                wanted = self._database.ids([item.message.id for item in items])
                current = {
                    row.id: row.revision
                    for row in db.execute(
                        sa.select(MESSAGES.c.id, MESSAGES.c.revision).where(MESSAGES.c.id.in_(wanted))
                    )
                }
                kept = [i for i, item in enumerate(items) if current.get(item.message.id) == item.revision]
                seqs = self._database.next_seqs(len(kept))
                ids = [items[i].message.id for i in kept]
                db.execute(
                    sa.delete(VECTORS).where(
                        VECTORS.c.message_id.in_(self._database.ids(ids)), VECTORS.c.model_key == model_key
                    )
                )
                self._database.insert(
                    db,
                    VECTORS,
                    [
                        {
                            "message_id": items[i].message.id,
                            "model_key": model_key,
                            "guild_id": items[i].message.guild_id,
                            "seq": seq,
                            "data": blobs[i].tobytes(),
                        }
                        for i, seq in zip(kept, seqs, strict=True)
                    ],
                )
                if mark_indexed:
                    db.execute(
                        sa.update(MESSAGES)
                        .where(MESSAGES.c.id.in_(self._database.ids(ids)))
                        .values(index_state=INDEXED)
                    )
            after_commit(kept, seqs)
            return len(kept)

    def mark_failed(self, items: Sequence[PendingMessage]) -> None:
        """Take messages that no model could embed out of the queue; they stay findable by keyword."""
        with self._database.writing() as db:
            for item in items:
                db.execute(
                    sa.update(MESSAGES)
                    .where(MESSAGES.c.id == item.message.id, MESSAGES.c.revision == item.revision)
                    .values(index_state=FAILED)
                )

    def numbers(self, guild_id: int, model_key: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the message ids and change numbers of a server's vectors, from a covering index."""
        where = (VECTORS.c.guild_id == guild_id, VECTORS.c.model_key == model_key)
        # A row for each of a million vectors would take most of a start; two long values take a tenth of that.
        gather = sa.func.json_group_array if self._database.sqlite else sa.func.array_agg
        columns = [gather(column, type_=sa.Text) for column in (VECTORS.c.message_id, VECTORS.c.seq)]
        with self._database.reading() as db:
            row = db.execute(sa.select(*columns).where(*where)).one()
        ids, seqs = (np.array(json.loads(v) if self._database.sqlite else v or (), dtype=np.int64) for v in row)
        return ids, seqs

    def read(
        self, model_key: str, message_ids: Sequence[int], batch: int = 5000
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Yield (channel ids, message ids, change numbers, vectors) of messages, a batch at a time."""
        for start in range(0, len(message_ids), batch):
            part = message_ids[start : start + batch]
            wanted = self._database.ids([int(i) for i in part])
            query = (
                sa.select(MESSAGES.c.channel_id, VECTORS.c.message_id, VECTORS.c.seq, VECTORS.c.data)
                .join(MESSAGES, MESSAGES.c.id == VECTORS.c.message_id)
                .where(VECTORS.c.model_key == model_key, VECTORS.c.message_id.in_(wanted))
            )
            with self._database.reading() as db:
                rows = db.execute(query).fetchall()
            if rows:
                yield (
                    np.array([r[0] for r in rows], dtype=np.int64),
                    np.array([r[1] for r in rows], dtype=np.int64),
                    np.array([r[2] for r in rows], dtype=np.int64),
                    np.stack([np.frombuffer(r[3], dtype=np.float16) for r in rows]).astype(np.float32),
                )

    def queue_length(self, guild_id: int | None = None) -> int:
        """Return how many messages of a server, or of all, wait for their vector."""
        query = sa.select(sa.func.count()).select_from(MESSAGES).where(MESSAGES.c.index_state == PENDING)
        if guild_id is not None:
            query = query.where(MESSAGES.c.guild_id == guild_id)
        with self._database.reading() as db:
            return int(db.scalar(query) or 0)
