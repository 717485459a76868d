"""Whose a database is, and whose a server: nobody else's process is let in, nobody else's server is erased."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cogs.memory.errors import StorageError
from cogs.memory.service import MemoryService
from config.settings import PROJECT_DIR
from tests.memory.building import GENERAL, GUILD, message, running_service, settings_in

OURS, THEIRS = 42, 43


async def test_a_second_process_with_another_folder_is_refused_in_one_sentence(tmp_path: Path, fresh: str) -> None:
    async with running_service(tmp_path / "one", database_url=fresh) as service:
        await service.remember([message(1, "The keel")])
        with pytest.raises(StorageError, match=r"^Another Mneme is already running on this database; stop it first"):
            await MemoryService.open(settings_in(tmp_path / "two", database_url=fresh))
        done = await asyncio.to_thread(_console, tmp_path / "three", fresh)
        assert done.returncode == 2, done.stderr
        assert "Another Mneme is already running on this database" in done.stderr
        assert done.stderr.count(".") == 1, "one sentence, and no traceback"
        assert await service.remember([message(2, "goes on")]) == 1
    async with running_service(tmp_path / "two", database_url=fresh) as service:
        assert (await service.status(GUILD)).messages == 2


def _console(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MNEME_", "DISCORD_", "DATABASE_URL"))}
    environment |= {"MNEME_DATA_DIR": str(folder), "DATABASE_URL": url, "MNEME_PROFILE": "minimal"}
    return subprocess.run(
        [sys.executable, str(PROJECT_DIR / "bot.py"), "console"],
        env=environment,
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


async def test_the_lock_is_taken_again_after_the_server_ended_its_connection(tmp_path: Path, fresh: str) -> None:
    async with running_service(tmp_path / "one", database_url=fresh) as service:
        with psycopg.connect(fresh.replace("+psycopg", ""), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        for number in range(3):  # the first writes may meet connections that are gone
            try:
                await service.remember([message(number, "The keel")])
            except StorageError:
                continue
        lock = service.repository.database._lock
        assert lock is not None
        lock._looked = 0.0
        await service.remember([message(4, "The keel")])
        with pytest.raises(StorageError, match="already running on this database"):
            await MemoryService.open(settings_in(tmp_path / "two", database_url=fresh))


async def test_only_a_bot_that_was_in_a_server_can_have_left_it(tmp_path: Path, where: dict[str, Any]) -> None:
    async with running_service(tmp_path, guild_grace_days=0, **where) as service:
        await service.remember([message(1, "The keel")])
        assert await service.guilds_of(OURS) == [], "an imported server is nobody's"
        await service.guild_left(GUILD, OURS)
        assert (await service.status(GUILD)).messages == 1

        await service.upsert_guild(GUILD, "The Guild", OURS)
        await service.upsert_guild(GUILD, "The Guild")  # an import of it afterwards changes nothing
        assert await service.guilds_of(OURS) == [GUILD]
        assert await service.guilds_of(THEIRS) == []
        await service.guild_left(GUILD, THEIRS)
        assert (await service.status(GUILD)).messages == 1
        await service.guild_left(GUILD, OURS)
        assert (await service.status(GUILD)).messages == 0
        assert await service.remember([message(2, "anew", channel=GENERAL)]) == 1


def test_two_processes_that_find_an_old_schema_upgrade_it_once(fresh: str) -> None:
    program = (
        "import sys; from cogs.memory.storage.database import create_engine, migrate; "
        "engine = create_engine(sys.argv[1]); migrate(engine); engine.dispose()"
    )
    command = [sys.executable, "-c", program, fresh]
    running = [subprocess.Popen(command, cwd=PROJECT_DIR, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in running]
    assert [code for _, code in ends] == [0, 0, 0], ends
