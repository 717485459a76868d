"""The result pages whose buttons still work, bounded in number."""

from __future__ import annotations

from typing import Protocol


class Closable(Protocol):
    """Pages with buttons that can be switched off."""

    async def close(self) -> None:
        """Switch the buttons off."""


OPEN_PAGES = 500


class OpenPages:
    """The pages whose buttons work. Each keeps its results in memory, so there are :data:`OPEN_PAGES` at most."""

    def __init__(self, most: int = OPEN_PAGES) -> None:
        self._most = most
        self._open: dict[Closable, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, pages: Closable) -> Closable | None:
        """Take in new pages; return the oldest where there are too many now, for the caller to close."""
        self._open[pages] = None
        if len(self._open) <= self._most:
            return None
        oldest = next(iter(self._open))
        del self._open[oldest]
        return oldest

    def discard(self, pages: Closable) -> None:
        """Let go of pages that are closed."""
        self._open.pop(pages, None)
