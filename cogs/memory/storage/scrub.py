"""Overwriting what SQLite leaves behind: copies of moved rows in the unused middle of its pages.

``secure_delete`` overwrites what is deleted where it stands. But where rows were moved to another page while they
were alive, their old copy stays in the gap between a page's cell pointers and its cells (file format, section 1.6)
until something is written there, and a later deletion does not know of it. Nothing reads a gap, so it may be
overwritten at any time when no writer is at work.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

BTREE_HEADER = {2: 12, 5: 12, 10: 8, 13: 8}
"""Size of the header by the first byte of a page; every other page begins with the number of another page, whose
first byte is 0 in files below 2**25 pages."""
CHUNK_PAGES = 4096


class GapScrubber:
    """Keeps its file open: closing any descriptor of a database takes SQLite's own locks on it away (POSIX)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def scrub(self) -> int:
        """Overwrite every gap that holds something; return how many there were.

        The caller holds the write lock, and the write-ahead log is empty.

        Raises:
            OSError: the file cannot be read or written.
        """
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR)
        head = os.pread(self._file, 100, 0)
        if len(head) < 100:
            return 0
        size = int.from_bytes(head[16:18], "big")
        size = 65536 if size == 1 else size
        found, page = 0, 0
        while data := os.pread(self._file, size * CHUNK_PAGES, page * size):
            found += self._scrub_pages(np.frombuffer(data, dtype=np.uint8).reshape(-1, size), page)
            page += CHUNK_PAGES
        if found:
            os.fsync(self._file)
        return found

    def _scrub_pages(self, pages: np.ndarray[tuple[int, int], np.dtype[np.uint8]], first: int) -> int:
        assert self._file is not None
        size, found = pages.shape[1], 0
        for row in np.flatnonzero(np.isin(pages[:, 0], list(BTREE_HEADER)) | (np.arange(len(pages)) + first == 0)):
            number = first + int(row)
            page = pages[row]
            start = 100 if number == 0 else 0  # the first page begins with the header of the file
            header = BTREE_HEADER.get(int(page[start]))
            if header is None:
                continue
            gap = start + header + 2 * int.from_bytes(page[start + 3 : start + 5].tobytes(), "big")
            cells = int.from_bytes(page[start + 5 : start + 7].tobytes(), "big") or 65536
            if gap < cells <= size and page[gap:cells].any():
                os.pwrite(self._file, bytes(cells - gap), number * size + gap)
                found += 1
        return found

    def close(self) -> None:
        """Close the file; only after every connection to the database."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
