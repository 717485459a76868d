"""Backups of a running memory, and restoring them: whole, checked, and forgetting again."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from cogs.memory.errors import BadRequest, StorageError
from cogs.memory.storage.backup import back_up, restore
from tests.memory.building import ANNA, BEN, CARLA, GUILD, ask, message, running_service, texts


async def _filled(folder: Path, backup: Path) -> None:
    """Make a backup while the memory runs, then delete a message and let a person opt out."""
    async with running_service(folder) as service:
        await service.remember(
            [
                message(1, "The keel is rotten", author=ANNA),
                message(2, "Deleted after the backup", author=BEN),
                message(3, "Carla opts out after the backup", author=CARLA),
            ]
        )
        await service.drain()
        assert back_up(folder, backup).messages == 3
        await service.forget_messages(GUILD, [message(2, "").id])
        await service.opt_out(CARLA, GUILD)
        await service.remember([message(4, "Said after the backup", author=ANNA)])
        await service.drain()


async def _found(folder: Path) -> list[str]:
    async with running_service(folder) as service:
        await service.drain()
        return sorted(texts(await ask(service, "keel backup deleted opts said", limit=50)))


async def test_a_restore_brings_back_what_was_and_forgets_again(tmp_path: Path) -> None:
    folder, backup = tmp_path / "data", tmp_path / "kept" / "one.zip"
    await _filled(folder, backup)
    report = restore(backup, folder)
    assert (report.messages, report.forgotten) == (1, 2)
    assert await _found(folder) == ["The keel is rotten"]
    for file in folder.rglob("*"):
        if file.is_file():
            assert b"Deleted after the backup" not in file.read_bytes(), file
            assert b"Carla opts out" not in file.read_bytes(), file
    async with running_service(folder) as service:
        assert await service.is_opted_out(CARLA, GUILD)
        assert await service.remember([message(2, "Deleted after the backup", author=BEN)]) == 0


async def test_restored_into_an_empty_folder_everything_of_the_backup_is_there(tmp_path: Path) -> None:
    folder, backup = tmp_path / "data", tmp_path / "one.zip"
    await _filled(folder, backup)
    assert restore(backup, tmp_path / "new").messages == 3
    assert len(await _found(tmp_path / "new")) == 3


def _changed(backup: Path, target: Path, member: str, data: bytes) -> Path:
    with zipfile.ZipFile(backup) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name == member else old.read(name))
        if member not in old.namelist():
            new.writestr(member, data)
    return target


async def test_a_broken_foreign_or_newer_backup_changes_nothing(tmp_path: Path) -> None:
    folder, backup = tmp_path / "data", tmp_path / "one.zip"
    await _filled(folder, backup)
    before = await _found(folder)
    (tmp_path / "text.zip").write_text("no archive")
    (tmp_path / "cut.zip").write_bytes(backup.read_bytes()[:-500])
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    with zipfile.ZipFile(backup) as archive:
        database, manifest = archive.read("mneme.db"), archive.read("manifest.json")
    flipped = bytearray(database)
    flipped[len(flipped) // 2] ^= 0xFF
    broken = [
        tmp_path / "text.zip",
        tmp_path / "cut.zip",
        tmp_path / "empty.zip",
        tmp_path / "missing.zip",
        _changed(backup, tmp_path / "flipped.zip", "mneme.db", bytes(flipped)),
        _changed(backup, tmp_path / "newer.zip", "manifest.json", manifest.replace(b'"schema": "', b'"schema": "9')),
        _changed(backup, tmp_path / "climbing.zip", "manifest.json", manifest.replace(b'"mneme.db"', b'"../mneme.db"')),
    ]
    for file in broken:
        with pytest.raises((BadRequest, StorageError)) as told:
            restore(file, folder)
        assert len(str(told.value).splitlines()) == 1
    assert await _found(folder) == before
    assert not list(folder.glob(".restore-*"))


async def test_a_backup_never_overwrites_and_says_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="no memory"):
        back_up(tmp_path / "nowhere", tmp_path / "one.zip")
    await _filled(tmp_path / "data", tmp_path / "one.zip")
    with pytest.raises(BadRequest, match="exists already"):
        back_up(tmp_path / "data", tmp_path / "one.zip")
