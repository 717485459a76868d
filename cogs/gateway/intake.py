"""What the gateway brings, on its way into the memory: in order, in batches, retried until it is committed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from cogs.gateway.pluralkit import PluralKit
from cogs.memory.errors import StorageError
from cogs.memory.records import ChannelInfo, IncomingMessage

if TYPE_CHECKING:
    from cogs.memory.service import MemoryService

log = logging.getLogger(__name__)
WAITING = 5000
BATCH = 256
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between two attempts to write: doubled after each one that fails."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message with its channel; ``mark_seen`` is off while older messages of the channel are still fetched."""

    message: IncomingMessage
    channel: ChannelInfo | None
    mark_seen: bool


class Intake:
    """A bounded queue in front of :meth:`MemoryService.remember`.

    Under load, messages that arrive during one commit share the next. While the database cannot be written, the batch
    is tried again and nothing overtakes it; when the queue is full, listeners wait, and what a crash then loses is
    fetched again, because the watermarks stand before it.
    """

    def __init__(
        self, service: MemoryService, failed: Callable[[BaseException], None], proxies: PluralKit | None = None
    ) -> None:
        self._service = service
        self._failed = failed
        self._proxies = proxies
        self._queue: asyncio.Queue[Arrival] = asyncio.Queue(WAITING)
        self._known: dict[int, ChannelInfo] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work."""
        self._task = asyncio.create_task(self._run(), name="intake")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)

    async def put(self, arrival: Arrival) -> None:
        """Hand a message over; waits while too many are waiting already."""
        await self._queue.put(arrival)

    async def drain(self) -> None:
        """Wait until everything handed over is committed."""
        await self._queue.join()

    async def stop(self) -> None:
        """Stop working; what is not committed stays to be fetched again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._proxies is not None:
            await self._proxies.close()

    async def note_channels(self, channels: list[ChannelInfo]) -> None:
        """Record channels before the first message of theirs, so that it is known who may read it."""
        fresh = [channel for channel in channels if self._known.get(channel.id) != channel]
        if fresh:
            await self._service.upsert_channels(fresh)
            self._known.update((channel.id, channel) for channel in fresh)

    def drop_channel(self, channel_id: int) -> None:
        """Forget that a channel was recorded."""
        self._known.pop(channel_id, None)

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._commit(batch)
            for _ in batch:
                self._queue.task_done()

    async def _commit(self, batch: list[Arrival]) -> None:
        async def work() -> None:
            await self.note_channels(list({a.channel.id: a.channel for a in batch if a.channel}.values()))
            for mark_seen, group in groupby(batch, key=lambda arrival: arrival.mark_seen):
                messages = [arrival.message for arrival in group]
                if self._proxies is not None:
                    messages = await self._proxies.named(messages)
                await self._service.remember(messages, mark_seen=mark_seen)

        await insist(work, f"{len(batch)} messages")


async def insist(work: Callable[[], Awaitable[object]], what: str) -> None:
    """Do something that must be done, again and again while the database cannot be written."""

    def note(state: RetryCallState) -> None:
        log.warning("%s must wait: %s", what, state.outcome and state.outcome.exception())

    async def attempt() -> None:
        await work()  # what a plain function returns would not be waited for

    await AsyncRetrying(
        retry=retry_if_exception_type(StorageError),
        wait=wait_exponential(FIRST_PAUSE, LONGEST_PAUSE),
        before_sleep=note,
    )(attempt)
