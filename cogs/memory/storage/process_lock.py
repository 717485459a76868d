"""One process owns a PostgreSQL database, for as long as it lives."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from cogs.memory.errors import StorageError
from cogs.memory.storage.database import PROCESS_LOCK, storage_errors

LOOK_SECONDS: Final = 1.0
"""How often a writer makes sure that the lock is still held."""
TAKEN: Final = (
    "Another Mneme is already running on this database; stop it first, or point DATABASE_URL at another database."
)


class ProcessLock:
    """An advisory lock on a connection of its own; the server gives it free when that connection ends.

    Where the server was restarted, :meth:`ensure` takes it again before anything is written.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._connection: sa.Connection | None = None
        self._looked = 0.0
        self._mutex = threading.Lock()

    def acquire(self) -> None:
        """Take the lock until :meth:`release` or the end of the process.

        Raises:
            StorageError: another process holds it, or the database cannot be reached.
        """
        with self._mutex, storage_errors():
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(PROCESS_LOCK))):
                    raise StorageError(TAKEN)
            except BaseException:
                connection.invalidate()  # not back into the pool, where the lock would outlive its owner
                connection.close()
                raise
            self._connection = connection
            self._looked = time.monotonic()

    def ensure(self) -> None:
        """Make sure that the lock is held; looks at most once in :data:`LOOK_SECONDS`.

        Raises:
            StorageError: the connection was lost and another process took the lock, or none can be made.
        """
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        with self._mutex:
            connection = self._connection
            try:
                if connection is not None:
                    connection.scalar(sa.select(1))
                    self._looked = time.monotonic()
                    return
            except DBAPIError:
                self._drop()
        self.acquire()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(DBAPIError):
                connection.invalidate()
                connection.close()

    def release(self) -> None:
        """Give the database free."""
        with self._mutex:
            self._drop()
