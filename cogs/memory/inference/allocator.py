"""Settings of glibc's memory allocator. Another C library has none of them, and these functions then do nothing."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
ARENAS: Final = 2
LARGEST_BLOCK: Final = 32 << 20
"""Bytes; glibc takes no larger threshold."""
KEPT: Final = 256 << 20
"""Bytes of freed memory that the allocator keeps, more than the layers of one forward pass write."""


def limit_arenas() -> None:
    """Let glibc use few arenas: with one for each of a dozen threads, they keep hundreds of free megabytes."""
    _set(M_ARENA_MAX, ARENAS)


def keep_freed_memory() -> None:
    """Let the allocator keep what one layer freed, so that the next layer reuses it.

    By default glibc returns a large block to the system as soon as it is freed. Every layer then writes to new pages,
    which the system first has to clear: 150,000 to 340,000 of them in one pass of a 0.6B model over 50 messages, a
    tenth of its time.
    """
    _set(M_MMAP_THRESHOLD, LARGEST_BLOCK)
    _set(M_TRIM_THRESHOLD, KEPT)


def release_freed_memory() -> None:
    """Return all free memory to the system, for instance after a large model was unloaded."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _set(parameter: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(parameter, value)
