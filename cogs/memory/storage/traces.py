"""The bytes of deleted or replaced text in the database's files: overwritten soon after the text is gone."""

from __future__ import annotations

import asyncio
import logging
import time

from cogs.memory.errors import StorageError
from cogs.memory.event_loop import LoopCaller
from cogs.memory.storage.repository import Repository

log = logging.getLogger(__name__)
ERASE_SECONDS = 0.5
"""How long the files may hold the bytes of text that was deleted or replaced, where they are not very large."""
REWRITE_SECONDS = 60.0
"""How often it is looked whether PostgreSQL's tables are due."""


class TraceEraser:
    """Erases traces once for everything that goes within :data:`ERASE_SECONDS`. Make it on the event loop."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._call = LoopCaller()
        self._wanted = asyncio.Event()

    def soon(self) -> None:
        """Say that text was deleted or replaced; from any thread."""
        self._call(self._wanted.set)

    def now(self) -> None:
        """Erase what there is, or as soon as the database lets go of it; not on the event loop."""
        if not self._repository.erase_traces():
            self.soon()

    async def run(self) -> None:
        """Erase whenever something was deleted or replaced, until cancelled."""
        await asyncio.gather(self._erase(), self._rewrite())

    async def _rewrite(self) -> None:
        """Let PostgreSQL's tables be rewritten in time; SQLite's file needs none of it."""
        while not self._repository.database.sqlite:
            try:
                await asyncio.to_thread(self._repository.rewriter.rewrite_if_due)
            except StorageError as error:
                log.warning("the tables could not be rewritten yet: %s", error)
            await asyncio.sleep(REWRITE_SECONDS)

    async def _erase(self) -> None:
        pause = ERASE_SECONDS
        while True:
            await self._wanted.wait()
            await asyncio.sleep(pause)
            self._wanted.clear()
            started = time.monotonic()
            try:
                gone = await asyncio.to_thread(self._repository.erase_traces)
            except StorageError as error:
                log.warning("the traces of replaced text could not be erased yet: %s", error)
                gone = False
            if not gone:
                self._wanted.set()
            # Nobody writes meanwhile, so it may take a tenth of the time, however large the file is.
            pause = max(ERASE_SECONDS, 9 * (time.monotonic() - started))
