"""An export is only a file: what Discord says of a channel wins, and nothing becomes public by a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cogs.imports.importing import import_files
from cogs.memory.access.permissions import (
    READ_MESSAGE_HISTORY,
    VIEW_CHANNEL,
    ChannelView,
    GuildView,
    MemberView,
    RoleView,
    reader_scope,
)
from cogs.memory.records import ChannelInfo
from cogs.memory.service import MemoryService
from tests.imports.test_importing import written
from tests.memory.building import running_service

GUILD, OTHER, PLANS, THREAD = 77, 88, 78, 79
PARENT = ChannelView(PLANS, "plans")
SNAPSHOT = GuildView(GUILD, "Club", 1, (RoleView(GUILD, "@everyone", VIEW_CHANNEL | READ_MESSAGE_HISTORY),), (PARENT,))


def export(folder: Path, guild: int, channel: int, kind: str, parent: int | None = PLANS, **message: Any) -> Path:
    folder.mkdir()
    return written(
        folder,
        message,
        guild={"id": str(guild), "name": "Club"},
        channel={"id": str(channel), "type": kind, "categoryId": parent and str(parent), "name": "secret plans"},
    )


async def readable(service: MemoryService) -> frozenset[int]:
    known = SNAPSHOT.with_known(await service.channels(GUILD))
    return reader_scope(known, MemberView(5), None).channel_ids


async def test_a_private_thread_stays_private_whatever_files_say(tmp_path: Path) -> None:
    async with running_service(tmp_path / "data") as service:
        await service.upsert_guild(GUILD, "Club")
        await service.upsert_channels(
            [
                ChannelInfo(PLANS, GUILD, "plans"),
                ChannelInfo(THREAD, GUILD, "secret plans", "thread", PLANS, private=True),
            ]
        )
        # First it is said to be another server's, which used to take it away, and then to be public.
        stolen = export(tmp_path / "a", OTHER, THREAD, "GuildPublicThread", id="900000000000000001")
        public = export(tmp_path / "b", GUILD, THREAD, "GuildPublicThread", id="900000000000000002")
        moved = export(tmp_path / "c", GUILD, THREAD, "GuildTextChat", None, id="900000000000000003")
        assert "another server" in (await import_files(service, [stolen])).not_imported[0].why
        assert (await import_files(service, [public, moved])).imported == 2
        assert THREAD not in await readable(service)
        known = {channel.id: channel for channel in await service.channels(GUILD)}[THREAD]
        assert (known.guild_id, known.kind, known.parent_id, known.private) == (GUILD, "thread", PLANS, True)


async def test_a_thread_that_only_a_file_knows_is_private_until_discord_says_otherwise(tmp_path: Path) -> None:
    async with running_service(tmp_path / "data") as service:
        assert (await import_files(service, [export(tmp_path / "a", GUILD, THREAD, "GuildPublicThread")])).imported == 1
        assert THREAD not in await readable(service)
        await service.upsert_channels([ChannelInfo(THREAD, GUILD, "secret plans", "thread", PLANS)])
        assert THREAD in await readable(service)
        await import_files(service, [export(tmp_path / "b", GUILD, THREAD, "GuildPrivateThread")])
        assert THREAD in await readable(service)


async def test_a_message_of_one_channel_is_not_overwritten_from_another(tmp_path: Path) -> None:
    async with running_service(tmp_path / "data") as service:
        await import_files(service, [export(tmp_path / "a", GUILD, PLANS, "GuildTextChat", None, content="the truth")])
        later = {"content": "a lie", "timestampEdited": "2026-04-01T00:00:00+00:00"}
        await import_files(service, [export(tmp_path / "b", OTHER, 99, "GuildTextChat", None, **later)])
        stored = await service.stored_versions(PLANS, 0, 2**62)
        assert [content for content, _ in stored.values()] == ["the truth"]
