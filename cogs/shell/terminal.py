"""Lines from a terminal or a pipe, read where Ctrl-C arrives: on the main thread, with the event loop on another."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any

LOOK_SECONDS = 0.2
"""How often the main thread looks up while it waits; on Windows a wait without an end cannot be interrupted."""
INTERRUPTED = 130


class Terminal:
    """Runs a session on an event loop of its own thread, and reads for it on this one.

    Python raises KeyboardInterrupt on the main thread alone. A read on any other thread goes on until Enter, and the
    program cannot end before it; so the read is here, and what it interrupts is told to the loop.
    """

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty()
        self._wanted: queue.Queue[tuple[str, Future[str | None]] | None] = queue.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: asyncio.Task[int] | None = None
        self._work: asyncio.Task[None] | None = None

    def run(self, session: Callable[[], Coroutine[Any, Any, int]]) -> int:
        """Run a session to its end and return its exit code; Ctrl-C stops what is under way, or else the session."""
        if self.interactive:
            # Importing it gives input() line editing and a history.
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401
        for stream in (sys.stdin, sys.stdout):
            # Bytes that are no text must not end the console; a line that holds some is refused where it is handled.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="surrogateescape" if stream is sys.stdin else "backslashreplace")
        ended: Future[int] = Future()
        thread = threading.Thread(target=self._serve, args=(session, ended), name="console")
        thread.start()
        while (wanted := self._next()) is not None:
            self._read(*wanted)
        thread.join()
        return ended.result()

    def _serve(self, session: Callable[[], Coroutine[Any, Any, int]], ended: Future[int]) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # The system gives Ctrl-C to any thread that takes it, and only on the main one does it end a read. What
            # this thread starts inherits the mask.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

        async def run() -> int:
            self._loop = asyncio.get_running_loop()
            self._session = asyncio.ensure_future(session())
            return await self._session

        try:
            ended.set_result(asyncio.run(run()))
        except asyncio.CancelledError:
            ended.set_result(INTERRUPTED)
        except BaseException as error:  # noqa: BLE001 - it is passed on whole to the main thread
            ended.set_exception(error)
        finally:
            self._wanted.put(None)

    def _next(self) -> tuple[str, Future[str | None]] | None:
        while True:
            try:
                return self._wanted.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            except KeyboardInterrupt:
                if self._loop is not None:
                    with contextlib.suppress(RuntimeError):  # the loop has just ended
                        self._loop.call_soon_threadsafe(self._interrupt)

    def _read(self, prompt: str, line: Future[str | None]) -> None:
        try:
            line.set_result(input(prompt) if self.interactive else sys.stdin.readline() or None)
        except EOFError:
            print()
            line.set_result(None)
        except KeyboardInterrupt:
            print()
            line.set_result("" if self.interactive else None)

    def _interrupt(self) -> None:
        target = self._work or self._session
        if target is not None:
            target.cancel()

    async def line(self, prompt: str) -> str | None:
        """Return the next line, without its end; ``None`` at the end of the input. Ctrl-C gives an empty one."""
        found: Future[str | None] = Future()
        self._wanted.put((prompt, found))
        line = await asyncio.wrap_future(found)
        return None if line is None else line.rstrip("\r\n")

    async def interruptible(self, work: Awaitable[None]) -> bool:
        """Wait for a piece of work that Ctrl-C may stop; return whether it came to its end."""
        self._work = asyncio.ensure_future(work)
        try:
            await self._work
        except asyncio.CancelledError:
            if not self._work.cancelled():
                raise
            return False
        finally:
            self._work = None
        return True
