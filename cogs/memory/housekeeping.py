"""What happens without being asked for: retention, servers that were left, snapshots, erased traces."""

from __future__ import annotations

import time

HOUSEKEEPING_SECONDS = 600.0
RETRY_SECONDS = 10.0
JUMP_SECONDS = 3600.0
ERASE_SECONDS = 0.5
"""How long the files may hold the bytes of text that was deleted or replaced, where they are not very large."""


class ClockWatch:
    """Tells a wall clock that jumped from one that runs: a jump must not make every message too old at once."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def steady_ms(self) -> int | None:
        """Return the time if it went with the time that passed since the last call, or at the first; else ``None``.

        What is too old is told from this reading: a later one may be from after a jump.
        """
        now = _now_ms()
        offset = now / 1000 - time.monotonic()
        last, self._offset = self._offset, offset
        return now if last is None or abs(offset - last) < JUMP_SECONDS else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
