"""One process owns a data folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from cogs.memory.errors import FolderInUse, StorageError


class FolderLock:
    """One process owns a data folder; a second one is told so instead of damaging it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / "mneme.lock", timeout=0)

    def acquire(self) -> None:
        """Take the lock until :meth:`release` or the end of the process.

        Raises:
            StorageError: another process holds it, or the folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise FolderInUse(
                f"Another Mneme is already running on {self._folder}; stop it first, or set MNEME_DATA_DIR to "
                "another folder."
            ) from error
        except OSError as error:
            raise StorageError(
                f"The data folder {self._folder} cannot be written ({error.strerror}); check MNEME_DATA_DIR."
            ) from error

    def release(self) -> None:
        """Give the folder free; does nothing where it was not taken."""
        self._lock.release()
