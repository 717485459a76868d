"""Rows of vectors, and the queue of messages that wait for one."""

from __future__ import annotations

from dataclasses import dataclass

from cogs.memory.records import StoredMessage
from cogs.memory.storage.tables import (
    Vector,
    table_of,
)

VECTORS = table_of(Vector)


@dataclass(frozen=True, slots=True)
class PendingMessage:
    """A message that waits for its vector, with the text that it answers."""

    message: StoredMessage
    revision: int
    parent: StoredMessage | None
