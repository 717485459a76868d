"""All SQL of the product. Every method is synchronous, and none of them is called on the event loop."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from cogs.memory.records import IncomingMessage
from cogs.memory.storage.connection import CHANNELS, MESSAGES, message_row, stored_message
from cogs.memory.storage.database import sqlite_module, storage_errors
from cogs.memory.storage.guilds import GuildRows
from cogs.memory.storage.keyword_index import keywords_of
from cogs.memory.storage.labels import LabelRows
from cogs.memory.storage.people import PeopleRows
from cogs.memory.storage.search_rows import SearchRows
from cogs.memory.storage.tables import (
    FAILED,
    INDEXED,
    PENDING,
    MessageLabel,
    Meta,
    Passage,
    Tombstone,
    table_of,
)
from cogs.memory.storage.vectors import VECTORS, PendingMessage

log = logging.getLogger(__name__)
TOMBSTONES = table_of(Tombstone)
META = table_of(Meta)


@dataclass(frozen=True, slots=True)
class Saved:
    """What a batch changed: ids that are new, ids whose text is another one now."""

    new: tuple[int, ...] = ()
    changed: tuple[int, ...] = ()


class Repository(SearchRows, PeopleRows, GuildRows, LabelRows):
    """Rows, keywords and vectors. A message is committed here before anything else happens to it."""

    # -- messages ------------------------------------------------------------------------------------------

    def save(self, messages: Sequence[IncomingMessage], *, mark_seen: bool = True) -> Saved:
        """Commit new and changed messages, their keywords and their place in the queue, in one transaction.

        Deleted messages and opted-out people are dropped inside the same transaction, so that neither a late event
        nor a race brings them back. An older version than the stored one is ignored. ``mark_seen`` moves the channels'
        watermarks; it is off while older messages are still being fetched.
        """
        if not messages:
            return Saved()
        latest = {m.id: m for m in messages}
        with self.writing() as db:
            wanted = list(latest)
            gone = set(
                db.scalars(sa.select(TOMBSTONES.c.message_id).where(TOMBSTONES.c.message_id.in_(self.ids(wanted))))
            )
            silent = self.silent_authors(db, {(m.author_id, m.guild_id) for m in latest.values()})
            stored = {
                row["id"]: row
                for row in db.execute(sa.select(MESSAGES).where(MESSAGES.c.id.in_(self.ids(wanted)))).mappings()
            }
            new, changed = [], []
            for message in latest.values():
                if message.id in gone or (message.author_id, message.guild_id) in silent:
                    continue
                row = message_row(message)
                row["content"] = self.scrub_mentions(db, row["content"], message.guild_id)
                old = stored.get(message.id)
                if old is None:
                    new.append(row)
                elif (row["edited_ms"] or 0) >= (old["edited_ms"] or 0) and any(
                    row[c] != old[c] for c in ("content", "embed_text", "attachments", "author_name")
                ):
                    changed.append(row)
            if new:
                db.execute(sa.insert(MESSAGES), [{**row, "revision": 1, "index_state": PENDING} for row in new])
            for row in changed:
                db.execute(
                    sa.update(MESSAGES)
                    .where(MESSAGES.c.id == row["id"])
                    .values(**row, revision=MESSAGES.c.revision + 1, index_state=PENDING)
                )
            self._forget_derived(db, [row["id"] for row in changed])
            self.write_keywords(db, [keywords_of(row) for row in new + changed])
            newest: dict[int, int] = {}
            for message in latest.values():
                newest[message.channel_id] = max(newest.get(message.channel_id, 0), message.id)
            if mark_seen:
                self._mark_seen(db, newest)
        return Saved(tuple(row["id"] for row in new), tuple(row["id"] for row in changed))

    def _forget_derived(self, db: sa.Connection, message_ids: Collection[int]) -> None:
        """Delete what was computed from messages, and queue the answers to them, whose vectors saw their text."""
        if not message_ids:
            return
        for table in (VECTORS, table_of(MessageLabel), table_of(Passage)):
            db.execute(sa.delete(table).where(table.c.message_id.in_(self.ids(message_ids))))
        self.delete_keywords(db, message_ids)
        # A passage of an answer saw the text that it answers.
        passages, answers = table_of(Passage), MESSAGES.c.reply_to_id.in_(self.ids(message_ids))
        db.execute(sa.delete(passages).where(passages.c.message_id.in_(sa.select(MESSAGES.c.id).where(answers))))
        db.execute(
            sa.update(MESSAGES).where(MESSAGES.c.reply_to_id.in_(self.ids(message_ids))).values(index_state=PENDING)
        )

    def delete(
        self, guild_id: int, message_ids: Collection[int], after_commit: Callable[[list[int]], None]
    ) -> list[int]:
        """Delete messages and everything derived from them, and remember their ids as deleted.

        ``after_commit`` takes them out of the index while nobody else may write. Returns the ids that were stored.
        """
        with self.write_lock:
            with self.writing() as db:
                present = self._delete(db, guild_id, message_ids)
            after_commit(list(message_ids))
            return present

    def _delete(self, db: sa.Connection, guild_id: int, message_ids: Collection[int]) -> list[int]:
        wanted = self.ids(message_ids)
        present = list(
            db.scalars(sa.select(MESSAGES.c.id).where(MESSAGES.c.id.in_(wanted), MESSAGES.c.guild_id == guild_id))
        )
        self._forget_derived(db, present)
        db.execute(sa.delete(MESSAGES).where(MESSAGES.c.id.in_(self.ids(present))))
        dead = set(message_ids) - set(
            db.scalars(sa.select(TOMBSTONES.c.message_id).where(TOMBSTONES.c.message_id.in_(wanted)))
        )
        # A tombstone only for what is gone: an id of another server's living message is not ours to bury.
        alive = set(db.scalars(sa.select(MESSAGES.c.id).where(MESSAGES.c.id.in_(wanted))))
        rows = [{"message_id": i, "guild_id": guild_id} for i in dead - alive]
        if rows:
            db.execute(sa.insert(TOMBSTONES), rows)
        return present

    def message_ids_where(
        self,
        guild_id: int,
        *,
        channel_ids: Collection[int] | None = None,
        author_id: int | None = None,
        before_ms: int | None = None,
    ) -> list[int]:
        """Return the ids of a server's messages, narrowed by channel (threads of it included), author or age."""
        query = sa.select(MESSAGES.c.id).where(MESSAGES.c.guild_id == guild_id)
        if channel_ids is not None:
            threads = sa.select(CHANNELS.c.id).where(CHANNELS.c.parent_id.in_(self.ids(channel_ids)))
            query = query.where(
                sa.or_(MESSAGES.c.channel_id.in_(self.ids(channel_ids)), MESSAGES.c.channel_id.in_(threads))
            )
        if author_id is not None:
            query = query.where(MESSAGES.c.author_id == author_id)
        if before_ms is not None:
            query = query.where(MESSAGES.c.created_ms < before_ms)
        with self.reading() as db:
            return list(db.scalars(query))

    def erase_traces(self) -> bool:
        """Fold the write-ahead log into the file, cut it to nothing, and overwrite the unused parts of the file.

        Deleted text is in neither then. Returns whether it is done: a reader that goes on for longer than the
        database waits keeps the log, and so does a disk that is full.
        """
        if not self.sqlite:
            return True
        with self.write_lock, storage_errors(), self.engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            try:
                busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if busy:
                    return False
                raw.execute("BEGIN IMMEDIATE")  # no other process may write meanwhile
                try:
                    self._scrubber.scrub()
                finally:
                    raw.execute("ROLLBACK")
            except (sqlite_module().OperationalError, OSError) as error:
                log.warning("the traces of deleted text could not be erased yet: %s", error)
                return False
            return True

    def rewrite_keywords(self, message_ids: Collection[int]) -> None:
        """Index the keywords of messages anew from their rows."""
        with self.writing() as db:
            rows = db.execute(sa.select(MESSAGES).where(MESSAGES.c.id.in_(self.ids(message_ids)))).mappings().all()
            self.delete_keywords(db, [row["id"] for row in rows])
            self.write_keywords(db, [keywords_of(row) for row in rows])

    # -- the queue and the vectors -------------------------------------------------------------------------

    def pending(self, limit: int) -> list[PendingMessage]:
        """Return up to ``limit`` messages that wait for their vector, oldest first."""
        query = sa.select(MESSAGES).where(MESSAGES.c.index_state == PENDING).order_by(MESSAGES.c.id).limit(limit)
        with self.reading() as db:
            return self._with_parents(db, query)

    def without_vector(self, model_key: str, after_id: int, limit: int) -> list[PendingMessage]:
        """Return messages that have no vector of a model yet, by id, for a change of embedder."""
        has = sa.select(VECTORS.c.message_id).where(
            VECTORS.c.message_id == MESSAGES.c.id, VECTORS.c.model_key == model_key
        )
        query = (
            sa.select(MESSAGES).where(MESSAGES.c.id > after_id, ~sa.exists(has)).order_by(MESSAGES.c.id).limit(limit)
        )
        with self.reading() as db:
            return self._with_parents(db, query)

    def count_without_vector(self, model_key: str) -> int:
        """Return how many messages have no vector of a model."""
        has = sa.select(VECTORS.c.message_id).where(
            VECTORS.c.message_id == MESSAGES.c.id, VECTORS.c.model_key == model_key
        )
        with self.reading() as db:
            return int(db.scalar(sa.select(sa.func.count()).select_from(MESSAGES).where(~sa.exists(has))) or 0)

    def queue_missing(self, model_key: str) -> None:
        """Queue every message that lacks a vector of the embedder in use; said at start and after a switch."""
        has = sa.select(VECTORS.c.message_id).where(
            VECTORS.c.message_id == MESSAGES.c.id, VECTORS.c.model_key == model_key
        )
        with self.writing() as db:
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
            for row in db.execute(sa.select(MESSAGES).where(MESSAGES.c.id.in_(self.ids(parent_ids)))).mappings()
        }
        return [PendingMessage(stored_message(row), row["revision"], parents.get(row["reply_to_id"])) for row in rows]

    def save_vectors(
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
        """
        blobs = vectors.astype(np.float16)
        with self.write_lock:
            with self.writing() as db:
                wanted = self.ids([item.message.id for item in items])
                current = {
                    row.id: row.revision
                    for row in db.execute(
                        sa.select(MESSAGES.c.id, MESSAGES.c.revision).where(MESSAGES.c.id.in_(wanted))
                    )
                }
                kept = [i for i, item in enumerate(items) if current.get(item.message.id) == item.revision]
                seqs = self.next_seqs(len(kept))
                ids = [items[i].message.id for i in kept]
                db.execute(
                    sa.delete(VECTORS).where(VECTORS.c.message_id.in_(self.ids(ids)), VECTORS.c.model_key == model_key)
                )
                if kept:
                    db.execute(
                        sa.insert(VECTORS),
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
                    db.execute(sa.update(MESSAGES).where(MESSAGES.c.id.in_(self.ids(ids))).values(index_state=INDEXED))
            after_commit(kept, seqs)
            return len(kept)

    def mark_failed(self, items: Sequence[PendingMessage]) -> None:
        """Take messages that no model could embed out of the queue; they stay findable by keyword."""
        with self.writing() as db:
            for item in items:
                db.execute(
                    sa.update(MESSAGES)
                    .where(MESSAGES.c.id == item.message.id, MESSAGES.c.revision == item.revision)
                    .values(index_state=FAILED)
                )

    def vector_rows(self, guild_id: int, model_key: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the message ids and change numbers of a server's vectors, from a covering index."""
        where = (VECTORS.c.guild_id == guild_id, VECTORS.c.model_key == model_key)
        # A row for each of a million vectors would take most of a start; two long values take a tenth of that.
        gather = sa.func.json_group_array if self.sqlite else sa.func.array_agg
        columns = [gather(column, type_=sa.Text) for column in (VECTORS.c.message_id, VECTORS.c.seq)]
        with self.reading() as db:
            row = db.execute(sa.select(*columns).where(*where)).one()
        ids, seqs = (np.array(json.loads(v) if self.sqlite else v or (), dtype=np.int64) for v in row)
        return ids, seqs

    def vectors(
        self, model_key: str, message_ids: Sequence[int], batch: int = 5000
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Yield (channel ids, message ids, change numbers, vectors) of messages, a batch at a time."""
        for start in range(0, len(message_ids), batch):
            part = message_ids[start : start + batch]
            query = (
                sa.select(MESSAGES.c.channel_id, VECTORS.c.message_id, VECTORS.c.seq, VECTORS.c.data)
                .join(MESSAGES, MESSAGES.c.id == VECTORS.c.message_id)
                .where(VECTORS.c.model_key == model_key, VECTORS.c.message_id.in_(self.ids([int(i) for i in part])))
            )
            with self.reading() as db:
                rows = db.execute(query).fetchall()
            if rows:
                yield (
                    np.array([r[0] for r in rows], dtype=np.int64),
                    np.array([r[1] for r in rows], dtype=np.int64),
                    np.array([r[2] for r in rows], dtype=np.int64),
                    np.stack([np.frombuffer(r[3], dtype=np.float16) for r in rows]).astype(np.float32),
                )

    def queue_length(self) -> int:
        """Return how many messages wait for their vector."""
        with self.reading() as db:
            return int(
                db.scalar(sa.select(sa.func.count()).select_from(MESSAGES).where(MESSAGES.c.index_state == PENDING))
                or 0
            )

    # -- small facts ---------------------------------------------------------------------------------------

    def get_meta(self, key: str) -> str | None:
        """Return a small fact, or None."""
        with self.reading() as db:
            value: str | None = db.scalar(sa.select(META.c.value).where(META.c.key == key))
            return value

    def set_meta(self, key: str, value: str) -> None:
        """Record a small fact."""
        with self.writing() as db:
            if not db.execute(sa.update(META).where(META.c.key == key).values(value=value)).rowcount:
                db.execute(sa.insert(META).values(key=key, value=value))
