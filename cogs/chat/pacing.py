"""How often a reply that is still being written may be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class Pacer:
    """Decides when a growing reply is edited: not more than once in ``interval`` seconds, never for nothing. Pure.

    Discord allows about five edits in five seconds on a channel, shared with everything else the bot says there.
    """

    def __init__(self, interval: float = 1.2) -> None:
        self.interval = interval
        self._next = float("-inf")
        self._shown = ""

    def due(self, now: float, text: str, *, final: bool = False) -> bool:
        """Return whether ``text`` should be shown at ``now`` (monotonic seconds); a final one always is."""
        return text != self._shown and (final or now >= self._next)

    def shown(self, now: float, text: str) -> None:
        """Note that ``text`` was shown at ``now``."""
        self._shown = text
        self._next = now + self.interval
