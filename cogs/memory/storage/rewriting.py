"""Rewriting PostgreSQL's tables, so that their files and its log no longer hold text that was deleted or replaced.

PostgreSQL leaves a deleted row where it stood until something else needs the room, keeps the words of an index for
good, and recycles the files of its write-ahead log with what stands in them. So the tables are rewritten whole
(``VACUUM FULL`` makes new files for the table and its indexes), a checkpoint lets go of the old files, and the log is
switched on as often as there are files of it: each switch fills one with zeros.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from cogs.memory.errors import StorageError
from cogs.memory.storage.connection import META, TRACES_SINCE, Database
from cogs.memory.storage.database import storage_errors
from cogs.memory.storage.meta import MetaStore

log = logging.getLogger(__name__)
TABLES: Final = ("keywords", "vectors", "passages", "message_labels", "judgements", "messages")
"""What holds text, or what was computed from it; the messages last, because the others point to them."""
LOCK_SECONDS: Final = 20
"""How long the job waits for somebody who reads a table; then it is tried again a minute later."""
LOG_FILES_AT_MOST: Final = 4_096
HOURS: Final = 6.0


def _switch(connection: sa.Connection) -> None:
    """Go on to the next file of the log; of a file in which nothing was written it would not."""
    connection.execute(sa.text("SELECT pg_logical_emit_message(false, 'mneme', '')"))
    connection.execute(sa.text("SELECT pg_switch_wal()"))


class Rewriter:
    """Rewrites the tables of PostgreSQL within ``hours`` after text was deleted or replaced."""

    def __init__(self, database: Database, hours: float = HOURS) -> None:
        self._database = database
        self.hours = hours
        self.problem: str | None = None
        """Why the log could not be overwritten, for the operator."""

    def rewrite_if_due(self, now_ms: int | None = None) -> bool:
        """Rewrite if text went so long ago that it has to be; return whether it was done. Everybody waits meanwhile.

        The job begins at half of the hours, so that a try that fails, or a process that is away for a while, does not
        break the promise.

        Raises:
            StorageError: the tables could not be rewritten yet; nothing was changed.
        """
        if self._database.sqlite:
            return False
        since = MetaStore(self._database).get(TRACES_SINCE)
        now = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        if since is None or now - int(since) < self.hours * 1_800_000:
            return False
        started = time.monotonic()
        with self._database.write_lock:
            with storage_errors(), self._database.engine.connect() as connection:
                auto = connection.execution_options(isolation_level="AUTOCOMMIT")
                auto.execute(sa.text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
                try:
                    for table in TABLES:
                        auto.execute(sa.text(f"VACUUM (FULL) {table}"))
                finally:
                    auto.execute(sa.text("RESET lock_timeout"))
            with self._database.writing() as db:
                db.execute(sa.delete(META).where(META.c.key == TRACES_SINCE))
            self.problem = self._overwrite_log()
        log.info("the tables were rewritten in %.1f s", time.monotonic() - started)
        return True

    def _overwrite_log(self) -> str | None:
        """Let every file of the write-ahead log be written anew; return what the role may not do, if anything."""
        try:
            with storage_errors(), self._database.engine.connect() as connection:
                auto = connection.execution_options(isolation_level="AUTOCOMMIT")
                # A checkpoint keeps the file that it stands in itself, so the log goes on to the next one first.
                _switch(auto)
                auto.execute(sa.text("CHECKPOINT"))
                for _ in range(self._log_files(auto)):
                    _switch(auto)
                auto.execute(sa.text("CHECKPOINT"))
        except StorageError as error:
            cause = error.__cause__
            log.warning("the write-ahead log could not be overwritten: %s", getattr(cause, "orig", cause))
            return (
                "The tables were rewritten, but the database's role may not switch its write-ahead log; grant it "
                "pg_checkpoint and the function pg_switch_wal, or let the log's files be removed in time."
            )
        return None

    def _log_files(self, connection: sa.Connection) -> int:
        """Return how many files the log has, or can have where the role may not look."""
        try:
            found = connection.scalar(sa.text("SELECT count(*) FROM pg_ls_waldir()"))
        except DBAPIError:
            sizes = sa.text(
                "SELECT name, setting FROM pg_settings WHERE name IN "
                "('min_wal_size', 'max_wal_size', 'wal_segment_size')"
            )
            setting = {row[0]: float(row[1]) for row in connection.execute(sizes)}
            found = math.ceil(setting["max_wal_size"] * 2**20 / setting["wal_segment_size"])
        return min(LOG_FILES_AT_MOST, int(found or 0)) + 1
