"""An index that is opened while others write."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.memory.service import MemoryService
from cogs.memory.vector_store.guild_indexes import GuildIndexes, _apart
from tests.memory.building import GUILD, ask, message, running_service, texts

VERSIONS = st.dictionaries(st.integers(1, 30), st.integers(1, 3), max_size=20)


@given(held=VERSIONS, true=VERSIONS, order=st.randoms())
def test_what_is_held_is_compared_with_what_is_true(
    held: dict[int, int], true: dict[int, int], order: random.Random
) -> None:
    def shuffled(versions: dict[int, int]) -> tuple[Any, Any]:
        pairs = order.sample(list(versions.items()), len(versions))
        return tuple(np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))  # type: ignore[return-value]

    stale, missing = _apart(*shuffled(held), *shuffled(true))
    assert sorted(stale.tolist()) == sorted(i for i in held if true.get(i) != held[i])
    assert sorted(missing.tolist()) == sorted(i for i in true if held.get(i) != true[i])


CHAT = [message(i, f"Number {i} of the chat about sailing") for i in range(6)]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[MemoryService]:
    async with running_service(tmp_path) as started:
        await started.remember(CHAT)
        await started.drain()
        yield started


def unopened(service: MemoryService, monkeypatch: pytest.MonkeyPatch) -> GuildIndexes:
    """Put indexes into service that were not opened yet, as right after a start."""
    with service.slot.acquire() as loadout:
        old = loadout.indexes
        new = GuildIndexes(service.repository, old.model_key, old.dim, old._directory.parent, "flat-fp16")
        monkeypatch.setattr(loadout, "indexes", new)
    return new


async def test_it_opens_while_a_writer_waits_for_the_database(
    service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexes = unopened(service, monkeypatch)
    with service.repository.write_lock:  # as held by a writer whom another process keeps waiting
        store = await asyncio.wait_for(asyncio.to_thread(indexes.store, GUILD), 10)
    assert len(store) == len(CHAT)


async def test_what_is_deleted_edited_and_added_while_it_opens_is_right_in_it(
    service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexes = unopened(service, monkeypatch)
    read, go_on = threading.Event(), threading.Event()
    vectors = service.repository.vectors.read

    def slowly(*args: Any, **more: Any) -> Any:
        rows = list(vectors(*args, **more))
        read.set()
        assert go_on.wait(20)
        yield from rows

    monkeypatch.setattr(service.repository.vectors, "read", slowly)
    opening = asyncio.create_task(asyncio.to_thread(indexes.store, GUILD))
    assert await asyncio.to_thread(read.wait, 20)
    writing = [
        asyncio.create_task(service.forget_messages(GUILD, [CHAT[0].id])),
        asyncio.create_task(service.edit(message(1, "Number 1 was about rowing after all"))),
        asyncio.create_task(service.remember([message(7, "And one that is new")])),
    ]
    await asyncio.sleep(0.3)
    go_on.set()
    store = await opening
    await asyncio.gather(*writing)
    await service.drain()
    assert len(store) == len(CHAT)
    assert await asyncio.to_thread(indexes.differences) == (0, 0)


async def test_a_profile_may_choose_the_approximate_index_and_status_tells_its_recall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.memory.vector_store.faiss.APPROXIMATE_ROWS", 20)
    monkeypatch.setattr("cogs.memory.ingest.worker.IDLE_SECONDS", 0.05)
    profiles = tmp_path / "profiles.yaml"
    profiles.write_text("large:\n  needs: {memory_gb: 0.1}\n  index: signs-fp16\n", encoding="utf-8")
    async with running_service(tmp_path, profile="large", profiles_file=profiles) as service:
        await service.remember([message(i, f"Number {i} of the chat about sailing") for i in range(60)])
        await service.drain()
        await ask(service, "sailing")  # opens the index
        for _ in range(200):
            if "of the exact" in (index := (await service.status()).index):
                break
            await asyncio.sleep(0.05)
        assert "signs-fp16, 100.0% of the exact 50 best" in index
        assert "Number 7" in texts(await ask(service, "Number 7 of the chat"))[0]
