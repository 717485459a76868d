"""A wall clock that is believed as long as it runs with the time that passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

JUMP_MS: Final = 3_600_000


class SteadyClock:
    """Tells the time by which a message is too old to be taken in.

    A clock that jumped since the process started is believed only as far as the newest message that arrived: live
    messages must not be refused because the machine believes that it is next year.
    """

    def __init__(
        self,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall_ms = wall_ms
        self._monotonic = monotonic
        self._offset = self._drift()
        self._newest_ms = 0

    def _drift(self) -> float:
        return self._wall_ms() - 1000 * self._monotonic()

    def now_ms(self, newest_ms: int) -> int:
        """Return the time in milliseconds since 1970; ``newest_ms`` is when the newest message at hand was written."""
        self._newest_ms = max(self._newest_ms, newest_ms)
        now = self._wall_ms()
        return now if abs(self._drift() - self._offset) < JUMP_MS else min(now, self._newest_ms)
