"""A bot without a wire for every test of the cogs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cogs.world import World


@pytest_asyncio.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A guild, the bot in it with every extension loaded, and a memory that is specced from the real one."""
    made = World(monkeypatch)
    await made.load()
    yield made
    await made.bot.backfills.stop()
    await made.bot.intake.stop()
