"""The way of a query: each store is asked once, a thread answers to its title, and nothing is found for nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cogs.memory.records import ChannelInfo, Filters, Scope
from tests.memory.building import ANNA, BEN, GENERAL, GUILD, ask, message, running_service, texts

THREAD, POST = 1_010, 1_011


def counted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[str]:
    """Count the calls of a method that go on to do their work."""
    calls: list[str] = []
    real: Callable[..., Any] = getattr(owner, name)

    def counting(*args: Any, **more: Any) -> Any:
        calls.append(name)
        return real(*args, **more)

    monkeypatch.setattr(owner, name, counting)
    return calls


async def test_a_query_asks_each_store_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_service(tmp_path) as service:
        said = [message(n, f"the boat has {n} sails and a reply", BEN if n % 2 else ANNA) for n in range(30)]
        await service.remember([*said, message(40, "yes", BEN, reply_to_id=said[3].id)])
        await service.drain()
        with service.slot.acquire() as loadout:
            store = loadout.indexes.store(GUILD)
        rows = service.repository.search
        calls = [
            counted(monkeypatch, store, "search"),
            counted(monkeypatch, store, "cosines"),
            *(counted(monkeypatch, rows, name) for name in ("allowed_ids", "neighbours", "passages")),
        ]
        found = await ask(service, "sails of the boat", filters=Filters(author_ids=frozenset({ANNA})))
        assert found.hits
        assert [len(each) for each in calls] == [1, 1, 1, 1, 1]


async def test_a_threads_messages_are_found_by_its_title(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.upsert_channels(
            [
                ChannelInfo(THREAD, GUILD, "engine rebuild", "thread", GENERAL),
                ChannelInfo(POST, GUILD, "garden party", "thread", GENERAL),
            ]
        )
        await service.remember(
            [
                message(1, "It overheats after twenty minutes", ANNA, THREAD),
                message(2, "Mussels in the heat exchanger", BEN, THREAD),
                message(3, "I bring a salad", ANNA, POST),
                message(4, "The weather is fine", BEN),
            ]
        )
        await service.drain()
        everywhere = (GENERAL, THREAD, POST)
        assert texts(await ask(service, "engine rebuild", *everywhere))[0] == "It overheats after twenty minutes"
        assert texts(await ask(service, "the rebuild of the engine", *everywhere))[1] == "Mussels in the heat exchanger"
        assert texts(await ask(service, "party in the garden", *everywhere))[0] == "I bring a salad"
        assert "I bring a salad" not in texts(await ask(service, "garden party", GENERAL))
        await service.upsert_channels([ChannelInfo(POST, GUILD, "summer fest", "thread", GENERAL)])
        assert texts(await ask(service, "summer fest", *everywhere))[0] == "I bring a salad"


@pytest.mark.parametrize("query", ["🎉", "?!", "a" * 1000, "...", "哈哈哈哈哈哈"])
async def test_a_query_that_says_nothing_finds_nothing(tmp_path: Path, query: str) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(1, "We won the match, party tonight")])
        await service.drain()
        result = await ask(service, query, explain=True)
        assert result.hits == ()
        assert result.reach.messages == 1


async def test_a_word_that_is_none_finds_nothing(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(1, "We won the match, party tonight"), message(2, "My puppy is ill")])
        await service.drain()
        assert texts(await ask(service, "xqzzvk")) == []
        assert texts(await ask(service, "dog"))[0] == "My puppy is ill", "a word that nobody wrote is still looked for"


async def test_a_scope_of_nothing_is_asked_for_nothing(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(1, "We won the match")])
        assert service.repository.search.neighbours([1], Scope({})) == {}
