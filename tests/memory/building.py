"""Builders for the tests of the memory: messages with sensible defaults, and a real service in a folder."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cogs.memory.records import ChannelInfo, Filters, IncomingMessage, RecallRequest, RecallResult, Scope
from cogs.memory.service import MemoryService
from config.settings import PROJECT_DIR, Settings

SHARED_MODELS = PROJECT_DIR / "data" / "cache" / "models"
GUILD = 1_000
GENERAL = 1_001
SECRET = 1_002
START = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
DISCORD_EPOCH_MS = 1_420_070_400_000
ANNA, BEN, CARLA = 501, 502, 503
NAMES = {ANNA: "Anna", BEN: "Ben", CARLA: "Carla"}


def snowflake(moment: dt.datetime, number: int = 0) -> int:
    """Return the id that Discord would give at a moment."""
    return ((round(moment.timestamp() * 1000) - DISCORD_EPOCH_MS) << 22) + number


def message(number: int, content: str, author: int = ANNA, channel: int = GENERAL, **more: Any) -> IncomingMessage:
    """Return the ``number``-th message, one a minute."""
    created = START + dt.timedelta(minutes=number)
    defaults: dict[str, Any] = {
        "id": snowflake(created, number),
        "guild_id": GUILD,
        "channel_id": channel,
        "author_id": author,
        "author_name": NAMES.get(author, f"user{author}"),
        "content": content,
        "created_at": created,
    }
    return IncomingMessage(**{**defaults, **more})


def settings_in(folder: Path, **more: Any) -> Settings:
    """Return settings whose data folder is ``folder`` and that read no ``.env``."""
    # The exported embedder is shared by all tests: exporting it takes seconds, and it is keyed by its weights.
    defaults: dict[str, Any] = {"profile": "minimal", "models_dir": SHARED_MODELS}
    return Settings(_env_file=None, data_dir=folder, **{**defaults, **more})  # type: ignore[call-arg]


@asynccontextmanager
async def running_service(folder: Path, **more: Any) -> AsyncIterator[MemoryService]:
    """Yield a started service on a server with two channels."""
    service = await MemoryService.open(settings_in(folder, **more))
    try:
        await service.start()
        await service.upsert_guild(GUILD, "The Guild")
        await service.upsert_channels(
            [ChannelInfo(GENERAL, GUILD, "general"), ChannelInfo(SECRET, GUILD, "secret", private=True)]
        )
        yield service
    finally:
        await service.close()


async def ask(
    service: MemoryService, query: str, *channels: int, filters: Filters | None = None, **more: Any
) -> RecallResult:
    """Recall within channels of the test server; in #general where none is named."""
    scope = Scope.of(GUILD, channels or [GENERAL])
    return await service.recall(RecallRequest(query, scope, filters or Filters(), **more))


def texts(result: RecallResult) -> list[str]:
    """Return what the hits say, in order."""
    return [hit.message.content for hit in result.hits]
