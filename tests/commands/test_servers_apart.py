"""What the managers of one server do and see concerns that server alone."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from cogs.commands import administration
from cogs.commands.administration import ForgetCommand
from cogs.commands.asker import Asker, NotAllowed
from cogs.memory.errors import BadRequest
from cogs.memory.records import ChannelInfo, Scope
from tests.memory.building import GENERAL, GUILD, message, running_service

OTHER, THEIRS = 2_000, 2_001
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def manager(user_id: int = 7, guild_id: int = GUILD) -> Asker:
    """Somebody who manages one server and can read the other one as well."""
    scope = Scope({GUILD: frozenset({GENERAL}), OTHER: frozenset({THEIRS})})
    return Asker(user_id, NOW, scope, guild_id, manages=True)


async def quiet(_: str, __: float) -> None:
    """Take no notice of progress."""


async def test_an_id_of_another_servers_message_buries_nothing_there(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.upsert_guild(OTHER, "Other")
        await service.upsert_channels([ChannelInfo(THEIRS, OTHER, "theirs")])
        stored = message(1, "theirs already", guild_id=OTHER, channel=THEIRS)
        coming = message(2, "theirs soon", guild_id=OTHER, channel=THEIRS)
        await service.remember([stored])
        for each in (stored, coming):
            erasure = await administration.forget(service, manager(), ForgetCommand(message=str(each.id)))
            assert await erasure.erase() == "That message is not in the memory."
        await service.forget_messages(GUILD, [coming.id])
        assert await service.remember([coming]) == 1
        assert len(await service.messages([stored.id, coming.id], Scope.of(OTHER, [THEIRS]))) == 2


async def test_a_channel_of_another_server_is_out_of_reach_for_a_manager(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.upsert_guild(OTHER, "Other")
        await service.upsert_channels([ChannelInfo(THEIRS, OTHER, "theirs")])
        for text in ("theirs", str(THEIRS)):
            with pytest.raises(BadRequest, match="There is no channel"):
                await administration.exclude_channel(service, manager(), text)
        assert "theirs" not in await administration.channels(service, manager())
        await service.set_channel_included(GUILD, THEIRS, False)
        assert await service.is_remembered(OTHER, THEIRS)


async def test_the_status_counts_what_is_of_the_server(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.upsert_guild(OTHER, "Other")
        await service.upsert_channels([ChannelInfo(THEIRS, OTHER, "theirs")])
        await service.remember([message(1, "ours")])
        await service.remember([message(n, f"theirs {n}", guild_id=OTHER, channel=THEIRS) for n in range(2, 7)])
        await service.drain()
        text = await administration.status(service, manager())
        assert "Messages: 1 in 1 channel" in text
        assert ": 1 vectors" in text
        assert ": 5 vectors" in await administration.status(service, manager(guild_id=OTHER))


async def test_a_profile_that_serves_several_servers_is_switched_by_whoever_runs_the_bot(tmp_path: Path) -> None:
    async with running_service(tmp_path, operators="9, 10") as service:
        await administration.use_profile(service, manager(), "minimal", quiet)  # it serves this server only
        await service.upsert_guild(OTHER, "Other")
        with pytest.raises(NotAllowed, match="serves 2 servers"):
            await administration.use_profile(service, manager(), "minimal", quiet)
        await administration.use_profile(service, manager(9), "minimal", quiet)
