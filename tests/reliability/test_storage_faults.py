"""A database that is locked, full or damaged, a snapshot that cannot be written or read, a clock that jumps."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from cogs.memory.errors import StorageError
from cogs.memory.forgetting import now_ms
from cogs.memory.housekeeping import ClockWatch
from cogs.memory.service import MemoryService, verify_service
from cogs.memory.storage.database import sqlite_module
from tests.memory.building import GUILD, ask, message, settings_in, texts
from tests.memory.building import running_service as any_service
from tests.reliability.faulty import write_config

PIZZA = "The pizza place on Harbour Street closes at nine on Sundays"
CHAT = [message(1, PIZZA), message(2, "My cat knocked over the router again"), message(3, "Bring potions on Friday")]


@asynccontextmanager
async def running_service(folder: Path) -> AsyncIterator[MemoryService]:
    async with any_service(folder, profile="patient", **write_config(folder / "config")) as service:
        yield service


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the write lock from outside, as a backup or another program would."""
    other = sqlite_module().connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def no_file_grows_beyond(limit: int) -> Iterator[None]:
    """Let every write beyond ``limit`` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_locked_database_is_waited_for_and_read_meanwhile(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        with locked(tmp_path / "mneme.db"):
            waiting = asyncio.create_task(service.remember([message(9, "Written in the meantime")]))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            assert texts(await ask(service, "pizza place"))[0] == PIZZA
        assert await waiting == 1


async def test_a_database_that_stays_locked_is_one_sentence_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.memory.storage.database.BUSY_MS", 300)
    async with running_service(tmp_path) as service:
        await service.remember(CHAT[:2])
        await service.drain()
        with locked(tmp_path / "mneme.db"):
            with pytest.raises(StorageError, match=r"^The database is busy with another process; try again"):
                await service.remember([CHAT[2]])
            with pytest.raises(StorageError, match="busy"):
                await service.forget_messages(GUILD, [CHAT[0].id])
            assert len(texts(await ask(service, "pizza cat potions"))) == 2
        assert await service.remember([CHAT[2]]) == 1
        assert await service.forget_messages(GUILD, [CHAT[0].id]) == 1
        await service.drain()
        assert (await verify_service(service)).agrees


async def test_a_lock_during_embedding_delays_it_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.memory.storage.database.BUSY_MS", 200)
    monkeypatch.setattr("cogs.memory.ingest.worker.RETRY_SECONDS", (0.1,))
    async with running_service(tmp_path) as service:
        await service.drain()
        await service.ingest.stop()
        await service.remember(CHAT)
        with locked(tmp_path / "mneme.db"):
            service.ingest.start()
            await asyncio.sleep(1.5)
            status = await service.status()
            assert status.queue == len(CHAT)
            assert "busy" in str(status.last_error)
        await asyncio.wait_for(service.drain(), 20)
        assert (await service.status()).last_error is None
        assert texts(await ask(service, "Italian food in town"))[0] == PIZZA


async def test_a_full_disk_is_one_sentence_and_what_was_there_stays_readable(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        many = [message(i, f"Number {i} " + "x" * 1500) for i in range(100, 600)]
        size = (tmp_path / "mneme.db-wal").stat().st_size
        with no_file_grows_beyond(size + 100_000):
            with pytest.raises(StorageError, match=r"^The disk is full or failing, so nothing was written; free some"):
                await service.remember(many)
            assert texts(await ask(service, "pizza place"))[0] == PIZZA
        assert await service.remember(many[:20]) == 20
        await service.drain()
        found = await verify_service(service)
        assert found.agrees, found.sentence
        assert found.messages == len(CHAT) + 20


async def test_a_snapshot_that_cannot_be_written_is_told_of_and_made_later(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(i, f"Number {i}") for i in range(200)])
        await service.drain()
        await asyncio.to_thread(_open_index, service)
        with service.slot.acquire() as loadout:
            with no_file_grows_beyond(6000):
                await asyncio.to_thread(loadout.indexes.save)
            assert "could not be written" in str(loadout.indexes.problem)
            await asyncio.to_thread(loadout.indexes.save)
            assert loadout.indexes.problem is None
    async with running_service(tmp_path) as again:
        await asyncio.to_thread(_open_index, again)
        assert (await verify_service(again)).agrees


async def test_a_deletion_reaches_the_snapshot_even_where_it_cannot_be_written(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        await asyncio.to_thread(_open_index, service)
        with service.slot.acquire() as loadout:
            await asyncio.to_thread(loadout.indexes.save)
            (snapshot,) = (tmp_path / "indexes").rglob("*.idx")
            assert CHAT[0].id.to_bytes(8, "little") in snapshot.read_bytes()
            with no_file_grows_beyond(1):
                loadout.indexes.remove(GUILD, [CHAT[0].id])
            assert not snapshot.exists(), "what cannot be rewritten is deleted"
            await asyncio.to_thread(loadout.indexes.save)
            assert CHAT[0].id.to_bytes(8, "little") not in snapshot.read_bytes()


def _open_index(service: MemoryService) -> None:
    with service.slot.acquire() as loadout:
        loadout.indexes.store(GUILD)


@pytest.mark.parametrize("damage", ["random", "empty", "text"])
async def test_a_damaged_snapshot_costs_time_and_no_answer(tmp_path: Path, damage: str) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        await asyncio.to_thread(_open_index, service)
    (snapshot,) = (tmp_path / "indexes").rglob("*.idx")
    content = {"random": bytes(range(256)) * 64, "empty": b"", "text": snapshot.read_bytes().replace(b"\x01", b"a")}
    snapshot.write_bytes(content[damage])
    async with running_service(tmp_path) as service:
        result = await ask(service, "Italian food in town")
        assert result.degraded is None or "no reranker" in result.degraded
        assert texts(result)[0] == PIZZA
        assert (await verify_service(service)).agrees


async def test_a_damaged_database_is_one_sentence_and_is_left_as_it_is(tmp_path: Path) -> None:
    database = tmp_path / "mneme.db"
    database.write_bytes(b"This is not a database, whatever its name says. " * 200)
    before = database.read_bytes()
    with pytest.raises(StorageError, match=r"^The database file is damaged; restore it from a backup"):
        await MemoryService.open(settings_in(tmp_path))
    assert database.read_bytes() == before


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    async with running_service(tmp_path):
        with pytest.raises(StorageError, match="Another Mneme is already running"):
            await MemoryService.open(settings_in(tmp_path))


async def test_a_clock_that_jumps_ahead_makes_nothing_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time_ns
    shift = 0

    def shifted_ms() -> int:
        return now_ms() + shift

    async with running_service(tmp_path) as service:
        await service.housekeeping.stop()  # its own rounds, at moments that nobody knows, are played below
        fresh = message(1, "Said just now")
        created = ClockWatch(shifted_ms)
        assert created.steady_ms() is not None
        await service.remember([fresh])
        age_days = (real() // 1_000_000 - round(fresh.created_at.timestamp() * 1000)) // 86_400_000
        await service.set_retention(GUILD, age_days + 10)
        shift = 40 * 365 * 86_400_000
        assert created.steady_ms() is None
        clock = ClockWatch(shifted_ms)
        shift = 0
        assert clock.steady_ms() is not None
        shift = 40 * 365 * 86_400_000
        await service.housekeeping.expire_what_is_due(clock)
        assert texts(await ask(service, "said just now")) == ["Said just now"]
        shift = 0
        await service.housekeeping.expire_what_is_due(clock)
        assert texts(await ask(service, "said just now")) == ["Said just now"]
        # A jump right after a steady reading: the rules are read between it and the deletion.
        rules = service.repository.guilds.rules

        def jump_meanwhile() -> list[tuple[int, int | None, int | None]]:
            nonlocal shift
            shift = 40 * 365 * 86_400_000
            return rules()

        monkeypatch.setattr(service.repository.guilds, "rules", jump_meanwhile)
        await service.housekeeping.expire_what_is_due(ClockWatch(shifted_ms))
        assert texts(await ask(service, "said just now")) == ["Said just now"]


async def test_a_clock_that_goes_back_keeps_the_order_of_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT[:2])
        await service.drain()
        first = service.repository.database.next_seqs(1)[0]
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() - 10**9 * 86_400 * 365)
        assert service.repository.database.next_seqs(1)[0] > first
        await service.remember([CHAT[2]])
        await service.drain()
        assert texts(await ask(service, "potions"))[0] == CHAT[2].content
        assert (await verify_service(service)).agrees
    async with running_service(tmp_path) as service:
        await asyncio.to_thread(_open_index, service)
        assert (await verify_service(service)).agrees
