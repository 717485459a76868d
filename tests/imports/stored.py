"""A memory whose models are not loaded, for tests that look at what is stored: real rows, no search."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cogs.memory.records import IncomingMessage
from cogs.memory.service import MemoryService
from tests.memory.building import settings_in


class StoredOnly(MemoryService):
    """The memory before it is started; it stores messages and embeds none."""

    async def remember(self, messages: Sequence[IncomingMessage], *, mark_seen: bool = True) -> int:
        """Store messages."""
        saved = await asyncio.to_thread(self.repository.messages.save, messages, mark_seen=mark_seen)
        return len(saved.new) + len(saved.changed)


@asynccontextmanager
async def stored_only(folder: Path) -> AsyncIterator[StoredOnly]:
    """Yield an empty memory."""
    service = await StoredOnly.open(settings_in(folder))
    assert isinstance(service, StoredOnly)
    try:
        yield service
    finally:
        await service.close()
