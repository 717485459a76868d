"""What happens without being asked for: retention, servers that were left, erased traces, indexes that are opened."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from cogs.memory.errors import StorageError
from cogs.memory.forgetting import Forgetting, now_ms
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.models.loadout import Loadout
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.traces import TraceEraser

log = logging.getLogger(__name__)
HOUSEKEEPING_SECONDS = 600.0
RETRY_SECONDS = 10.0
JUMP_SECONDS = 3600.0


class ClockWatch:
    """Tells a wall clock that jumped from one that runs: a jump must not make every message too old at once.

    ``clock`` returns milliseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = now_ms) -> None:
        self._clock = clock
        self._offset: float | None = None

    def steady_ms(self) -> int | None:
        """Return the time if it went with the time that passed since the last call, or at the first; else ``None``.

        What is too old is told from this reading: a later one may be from after a jump.
        """
        now = self._clock()
        offset = now / 1000 - time.monotonic()
        last, self._offset = self._offset, offset
        return now if last is None or abs(offset - last) < JUMP_SECONDS else None


class Housekeeping:
    """A task of the event loop: lets go of what is due now and then, and of the traces of deleted text at once."""

    def __init__(
        self, repository: Repository, slot: ModelSlot[Loadout], forgetting: Forgetting, eraser: TraceEraser
    ) -> None:
        self._repository = repository
        self._slot = slot
        self._forgetting = forgetting
        self._eraser = eraser
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="housekeeping")

    async def stop(self) -> None:
        """End at the next pause."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        await asyncio.gather(self._eraser.run(), self._expire_now_and_then())

    async def _expire_now_and_then(self) -> None:
        clock = ClockWatch()
        while True:
            try:
                await asyncio.to_thread(self._open_indexes)
                await self.expire_what_is_due(clock)
            except StorageError as error:
                log.warning("what is too old could not be forgotten yet: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def expire_what_is_due(self, clock: ClockWatch) -> None:
        """Let go of what is too old and of servers that were left, if the clock can be believed."""
        now = clock.steady_ms()
        if now is None:
            log.warning("the clock of this machine jumped; nothing is forgotten for its age until it runs steadily")
            return
        await self._forgetting.forget_what_is_due(now)

    def _open_indexes(self) -> None:
        """Open every server's index, so that nobody's first question waits for it."""
        for guild_id in self._repository.guilds.ids():
            with self._slot.acquire() as loadout:
                loadout.indexes.store(guild_id)
