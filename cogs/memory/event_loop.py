"""Calling the event loop from the threads that do the memory's work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LoopCaller:
    """Calls functions on the event loop it was made on, from any thread; after that loop's end it does nothing."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __call__(self, function: Callable[[], None]) -> None:
        """Let the event loop call a function soon."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)
