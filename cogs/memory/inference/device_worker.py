"""The worker that owns a device: priorities, deadlines, out-of-memory, and the hot switch of models."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Any, TypeVar

log = logging.getLogger(__name__)
R = TypeVar("R")
MODEL_NICENESS = 5


class Priority(IntEnum):
    """How urgent work is: a person waits for it, or it runs in the background. The smaller number goes first."""

    INTERACTIVE = 0
    BACKGROUND = 1


class DeadlineExceeded(RuntimeError):
    """The work was not done in time; its result, should it still come, is dropped."""


class DeviceOutOfMemory(RuntimeError):
    """The device has no memory left for the work; a smaller batch may succeed."""


class WorkerClosed(RuntimeError):
    """The worker has been closed; nothing more runs on its device."""


@dataclass(order=True)
class _Job:
    priority: Priority
    number: int
    call: Callable[[], Any] = field(compare=False)
    loop: asyncio.AbstractEventLoop = field(compare=False)
    future: asyncio.Future[Any] = field(compare=False)
    expires_at: float | None = field(compare=False)

    def is_wanted(self) -> bool:
        expired = self.expires_at is not None and time.monotonic() >= self.expires_at
        return not expired and not self.future.done()

    def settle(self, result: Any, error: BaseException | None) -> None:
        """Give the outcome to the waiter, if it still waits."""

        def deliver() -> None:
            if self.future.done():
                return
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)

        try:
            self.loop.call_soon_threadsafe(deliver)
        except RuntimeError:
            # The waiter's loop has been closed: nobody is left to tell.
            log.debug("a result came after its event loop had ended")


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """``busy_for`` is how long the running call has taken, in seconds; ``None`` where the device is idle."""

    name: str
    alive: bool
    queued: int
    busy_for: float | None
    completed: int
    failed: int
    last_error: str | None


def _ran_out_of_memory(error: BaseException) -> bool:
    """Return whether a device or the machine had no memory left; without PyTorch there is no error of PyTorch's."""
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))


def _passable(raised: BaseException) -> Exception:
    """Return what a waiter gets: a future refuses StopIteration, and an exit must not end the worker."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    return RuntimeError(f"a model raised {raised!r}")


def _let_others_first() -> None:
    """Let the event loop have a core when it needs one: models on the processor take them all for as long as they run.

    The threads that a model starts inherit it. Only Linux gives threads priorities of their own.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), MODEL_NICENESS)


class DeviceWorker:
    """One thread that owns one device. Everything that touches a model runs here, one call at a time.

    A call that runs for longer than ``hang_after`` seconds while others wait is given up: its thread cannot be
    stopped, but another one takes the device over, so that one stuck call does not silence the memory for good.
    """

    def __init__(self, name: str, hang_after: float = 600.0) -> None:
        self.name = name
        self.hang_after = hang_after
        self._jobs: list[_Job] = []
        self._numbers = itertools.count()
        self._condition = threading.Condition()
        self._closed = False
        self._busy_since: float | None = None
        self._completed = 0
        self._failed = 0
        self._last_error: str | None = None
        self._generation = 0
        self._thread = self._start_thread()

    def _start_thread(self) -> threading.Thread:
        # A daemon: a call that hangs for ever must not keep the process from ending.
        thread = threading.Thread(target=self._work, args=(self._generation,), name=f"device-{self.name}", daemon=True)
        thread.start()
        return thread

    async def run(
        self,
        call: Callable[..., R],
        *args: Any,
        priority: Priority = Priority.INTERACTIVE,
        deadline: float | None = None,
    ) -> R:
        """Run ``call(*args)`` on the device's thread and return its result, or raise what it raises.

        ``deadline`` is in seconds from now, waiting included. A call that runs cannot be interrupted, but nobody waits
        for it any longer; one that still waits is never started. Cancelling the waiter drops its work likewise.

        Raises:
            DeadlineExceeded: the deadline passed first.
            DeviceOutOfMemory: the call ran out of memory, on the device or off it.
            WorkerClosed: the worker is closed, or closed while this waited.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        expires_at = None if deadline is None else time.monotonic() + deadline
        job = _Job(priority, next(self._numbers), partial(call, *args), loop, future, expires_at)
        with self._condition:
            if self._closed:
                raise WorkerClosed(f"the worker of {self.name} is closed")
            heapq.heappush(self._jobs, job)
            self._condition.notify()
            self._give_up_hung_call()
        try:
            async with asyncio.timeout(deadline) as limit:
                return await future
        except TimeoutError as error:
            if limit.expired():
                with self._condition:
                    self._give_up_hung_call()
                raise DeadlineExceeded(f"not done within {deadline:g} seconds") from None
            raise error  # the call's own
        finally:
            # Cancelling the waiter has cancelled the future already, so its state does not tell whether to drop.
            future.cancel()
            self._drop(job)
            del job, args  # the traceback of a cancelled waiter must not hold on to a batch

    def _give_up_hung_call(self) -> None:
        """Let another thread go on where a call hangs; the condition is held."""
        if self._busy_since is None or self._closed or time.monotonic() - self._busy_since < self.hang_after:
            return
        log.error("a call on %s has not come back for %.0f s and is given up", self.name, self.hang_after)
        self._last_error = f"a call did not come back within {self.hang_after:g} s and was given up"
        self._failed += 1
        self._busy_since = None
        self._generation += 1
        self._thread = self._start_thread()

    def _drop(self, job: _Job) -> None:
        """Take work that nobody waits for out of the queue: its arguments must not stay behind a call that hangs."""
        with self._condition:
            if job in self._jobs:
                self._jobs.remove(job)
                heapq.heapify(self._jobs)

    def _work(self, generation: int) -> None:
        if self.name == "cpu":
            _let_others_first()
        while (job := self._next(generation)) is not None:
            result: Any = None
            error: Exception | None = None
            try:
                result = job.call()
            except BaseException as raised:  # noqa: BLE001 - it is passed on whole to whoever waits for the result
                if _ran_out_of_memory(raised):
                    error = DeviceOutOfMemory(f"{self.name} has no memory left for this: {raised}")
                    error.__cause__ = raised
                else:
                    error = _passable(raised)
            with self._condition:
                if generation == self._generation:  # or it was given up, and another thread has the device
                    self._busy_since = None
                    self._completed += error is None
                    self._failed += error is not None
                    if error is not None:
                        self._last_error = f"{type(error).__name__}: {error}"
            job.settle(result, error)
            del job, result, error  # an idle worker must not hold on to a batch, nor to the frames of an error

    def _next(self, generation: int) -> _Job | None:
        with self._condition:
            while generation == self._generation:
                while self._jobs:
                    job = heapq.heappop(self._jobs)
                    if job.is_wanted():
                        self._busy_since = time.monotonic()
                        return job
                if self._closed:
                    return None
                self._condition.wait()
            return None

    def health(self) -> WorkerHealth:
        """Return what the worker is doing; a large ``busy_for`` is a call that hangs."""
        with self._condition:
            return WorkerHealth(
                name=self.name,
                alive=self._thread.is_alive(),
                queued=sum(job.is_wanted() for job in self._jobs),
                busy_for=None if self._busy_since is None else time.monotonic() - self._busy_since,
                completed=self._completed,
                failed=self._failed,
                last_error=self._last_error,
            )

    def close(self, timeout: float = 10.0) -> bool:
        """Start nothing more, and wait for the running call; return whether it ended within ``timeout`` seconds.

        Whoever waits for queued work gets :class:`WorkerClosed`.
        """
        with self._condition:
            self._closed = True
            waiting, self._jobs = self._jobs, []
            self._condition.notify()
        for job in waiting:
            job.settle(None, WorkerClosed(f"the worker of {self.name} was closed"))
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
        return not self._thread.is_alive()
