"""What the stores share: transactions, sets of ids as one parameter, rows as records."""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from cogs.memory.errors import StorageError
from cogs.memory.records import Attachment, IncomingMessage, StoredMessage
from cogs.memory.storage.database import sqlite_module, storage_errors
from cogs.memory.storage.process_lock import ProcessLock
from cogs.memory.storage.tables import Channel, Message, Meta, table_of

MESSAGES = table_of(Message)
CHANNELS = table_of(Channel)
META = table_of(Meta)
TRACES_SINCE = "traces_since"
"""The small fact that says since when PostgreSQL's files hold text that was deleted, in milliseconds since 1970."""
_LINK = re.compile(r"https?://", re.IGNORECASE)
_IMAGE = re.compile(r"\.(png|jpe?g|gif|webp|bmp|avif|heic)$", re.IGNORECASE)

#: The years 1 and 9999, less a day for what is computed from them.
_FIRST_MS, _LAST_MS = -62_135_510_400_000, 253_402_214_400_000


def to_ms(moment: dt.datetime) -> int:
    """Return milliseconds since 1970 of an aware time."""
    return round(moment.timestamp() * 1000)


def from_ms(value: int) -> dt.datetime:
    """Return the aware UTC time of milliseconds since 1970; one that no calendar has becomes the nearest."""
    return dt.datetime.fromtimestamp(min(max(value, _FIRST_MS), _LAST_MS) / 1000, tz=dt.UTC)


class Database:
    """The engine, and one lock for all that writes; every store is given the same one.

    SQLite has one writer anyway; holding our own lock over "commit, then change the index" keeps a deletion from
    slipping between the two.
    """

    def __init__(self, engine: sa.Engine, lock: ProcessLock | None = None) -> None:
        self.engine = engine
        self._lock = lock
        self.sqlite = engine.dialect.name == "sqlite"
        self.write_lock = threading.RLock()
        self._last_seq = 0
        self.doubts = 0
        """How often nobody knew whether a commit had happened: what lies beside the database may differ then."""

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection inside a read transaction."""
        with storage_errors(), self.engine.connect() as connection:
            connection = connection.execution_options(mneme_readonly=True)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection inside a write transaction; it commits at the end or leaves nothing."""
        with self.write_lock:
            if self._lock is not None:
                self._lock.ensure()
            done = False
            try:
                with storage_errors(), self.engine.begin() as connection:
                    yield connection
                    done = True
            except StorageError:
                if done:
                    # The commit was asked for, and its answer got lost: whether it happened is to be seen.
                    self.doubts += 1
                raise

    def insert(self, db: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows in one statement, in the order of their first primary key; what is there already stays.

        Two processes that insert the same rows then wait for each other instead of ending in a deadlock.
        """
        if not rows:
            return
        first = next(iter(table.primary_key.columns)).name
        ordered = sorted(rows, key=lambda row: row[first])
        if self.sqlite:
            db.execute(sa.insert(table).prefix_with("OR IGNORE"), ordered)
            return
        names = list(ordered[0])
        kinds = {name: table.c[name].type.compile(db.dialect) for name in names}
        arrays = ", ".join(f"CAST(:{name} AS {_array(kind)})" for name, kind in kinds.items())
        columns = ", ".join(f"CAST(r.{name} AS JSON)" if kinds[name] == "JSON" else f"r.{name}" for name in names)
        listed = ", ".join(names)
        source = f"SELECT {columns} FROM unnest({arrays}) AS r({listed})"  # noqa: S608 - names of our own columns
        statement = f"INSERT INTO {table.name}({listed}) {source} ON CONFLICT DO NOTHING"
        values = {
            name: [json.dumps(row[name]) if kinds[name] == "JSON" else row[name] for row in ordered] for name in names
        }
        db.execute(sa.text(statement), values)

    def text_went(self, db: sa.Connection) -> None:
        """Note inside a transaction that text was deleted or replaced, so that the tables are rewritten in time."""
        if not self.sqlite:
            since = {"key": TRACES_SINCE, "value": str(time.time_ns() // 1_000_000)}
            self.insert(db, META, [since])

    def next_seqs(self, count: int) -> list[int]:
        """Return ``count`` change numbers that were never given before, by this process or an earlier one."""
        first = max(time.time_ns() // 1000, self._last_seq + 1)
        self._last_seq = first + count
        return list(range(first, first + count))

    def ids(self, values: Collection[int]) -> sa.Select[tuple[int]]:
        """Return a subquery over ``values`` that is one parameter, however many there are."""
        if self.sqlite:
            each = sa.func.json_each(json.dumps(list(values))).table_valued("value")
            return sa.select(each.c.value)
        array = sa.cast(sa.literal(list(values), ARRAY(sa.BigInteger)), ARRAY(sa.BigInteger))
        return sa.select(sa.func.unnest(array))

    def is_intact(self) -> bool:
        """Return whether SQLite finds its file in order; PostgreSQL looks after its own.

        A connection of its own looks: FTS5's check compares with what a pooled connection has cached, and reports a
        mismatch after another connection wrote, although nothing is wrong.
        """
        if not self.sqlite:
            return True
        connection = sqlite_module().connect(self.engine.url.database)
        try:
            return bool(connection.execute("PRAGMA quick_check").fetchone()[0] == "ok")
        finally:
            connection.close()

    def analyze(self) -> None:
        """Let PostgreSQL look at its tables at once, as it does by itself after a while; SQLite needs none of it."""
        if not self.sqlite:
            with storage_errors(), self.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text("VACUUM ANALYZE"))

    def close(self) -> None:
        """Close every connection."""
        if self._lock is not None:
            self._lock.release()
        self.engine.dispose()


def _array(kind: str) -> str:
    return "TEXT[]" if kind == "JSON" or kind.startswith("VARCHAR") else f"{kind}[]"


def message_row(message: IncomingMessage) -> dict[str, Any]:
    """Return the columns of an incoming message."""
    image = any((a.content_type or "").startswith("image/") or _IMAGE.search(a.filename) for a in message.attachments)
    return {
        "id": message.id,
        "guild_id": message.guild_id,
        "channel_id": message.channel_id,
        "author_id": message.author_id,
        "author_name": message.author_name,
        "author_username": message.author_username,
        "author_is_bot": message.author_is_bot,
        "content": message.content,
        "embed_text": message.embed_text,
        "attachments": [
            {"id": a.id, "filename": a.filename, "url": a.url, "content_type": a.content_type, "size": a.size}
            for a in message.attachments
        ],
        "created_ms": to_ms(message.created_at),
        "edited_ms": None if message.edited_at is None else to_ms(message.edited_at),
        "reply_to_id": message.reply_to_id,
        "kind": message.kind,
        "has_link": bool(_LINK.search(message.content)),
        "has_image": image,
        "has_file": bool(message.attachments),
        "proxied_for": message.proxied_for,
        "forwarded_from": message.forwarded_from,
    }


def stored_message(row: Mapping[Any, Any], channel_name: str = "", labels: Sequence[str] = ()) -> StoredMessage:
    """Return the record of a row of ``messages``."""
    return StoredMessage(
        id=row["id"],
        guild_id=row["guild_id"],
        channel_id=row["channel_id"],
        author_id=row["author_id"],
        author_name=row["author_name"],
        content=row["content"],
        created_at=from_ms(row["created_ms"]),
        edited_at=None if row["edited_ms"] is None else from_ms(row["edited_ms"]),
        reply_to_id=row["reply_to_id"],
        attachments=tuple(Attachment(**a) for a in row["attachments"]),
        embed_text=row["embed_text"],
        channel_name=channel_name,
        labels=tuple(labels),
        author_is_bot=row["author_is_bot"],
    )
