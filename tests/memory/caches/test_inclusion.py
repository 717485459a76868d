"""Channels that an administrator leaves out: nothing of them stays, whatever happens at the same time."""

from __future__ import annotations

import asyncio
import concurrent.futures
from pathlib import Path

import pytest

from cogs.memory.records import ChannelInfo, Scope
from tests.memory.building import GENERAL, GUILD, message, running_service


async def test_a_channel_left_out_while_a_message_is_being_stored_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(tmp_path) as service:
        loop = asyncio.get_running_loop()
        leaving: list[concurrent.futures.Future[None]] = []
        read = service.repository.guilds.inclusion

        def read_slowly(guild_id: int) -> dict[int, tuple[int | None, bool | None]]:
            found = read(guild_id)
            if not leaving:
                leaving.append(
                    asyncio.run_coroutine_threadsafe(service.set_channel_included(GUILD, GENERAL, False), loop)
                )
                concurrent.futures.wait(leaving, timeout=0.5)
            return found

        monkeypatch.setattr(service.repository.guilds, "inclusion", read_slowly)
        await service.remember([message(0, "The harbour is closed")])
        await asyncio.wrap_future(leaving[0])
        await service.remember([message(1, "The harbour is open again")])
        assert not await service.is_remembered(GUILD, GENERAL)
        assert (await service.reach(Scope.of(GUILD, [GENERAL]))).messages == 0


async def test_a_channel_that_moves_below_one_that_is_left_out_is_left_out(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.set_channel_included(GUILD, 1_500, False)
        assert await service.remember([message(0, "Still at the top")]) == 1
        await service.upsert_channels([ChannelInfo(GENERAL, GUILD, "general", parent_id=1_500)])
        assert await service.remember([message(1, "Below the archive now")]) == 0
