"""Erasing what a database keeps of deleted text."""

from __future__ import annotations

import logging
from pathlib import Path

from cogs.memory.storage.connection import Database
from cogs.memory.storage.database import sqlite_module, storage_errors
from cogs.memory.storage.scrub import GapScrubber

log = logging.getLogger(__name__)


class Eraser:
    """Erases the traces that deleted text leaves in the files of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._scrubber = GapScrubber(Path(database.engine.url.database or ""))

    def erase_traces(self) -> bool:
        """Fold the write-ahead log into the file, cut it to nothing, and overwrite the unused parts of the file.

        Deleted text is in neither then. Returns whether it is done: a reader that goes on for longer than the
        database waits keeps the log, and so does a disk that is full.
        """
        if not self._database.sqlite:
            return True
        with self._database.write_lock, storage_errors(), self._database.engine.connect() as connection:
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

    def close(self) -> None:
        """Close the files; only after every connection to the database."""
        self._scrubber.close()
