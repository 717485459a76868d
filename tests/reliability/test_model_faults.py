"""Models that raise, run out of memory, return nonsense or hang: people get an answer that says what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cogs.memory.service import MemoryService
from tests.memory.building import ask, message, running_service, texts
from tests.reliability.faulty import SWITCH, Fault, FaultyEncoder, Switch, write_config

PIZZA = "The pizza place on Harbour Street closes at nine on Sundays"
CHAT = [message(1, PIZZA), message(2, "My cat knocked over the router again"), message(3, "Bring potions on Friday")]


@asynccontextmanager
async def faulty_service(tmp_path: Path) -> AsyncIterator[MemoryService]:
    SWITCH.fault = None
    SWITCH.release.clear()
    async with running_service(tmp_path / "memory", profile="faulty", **write_config(tmp_path)) as service:
        try:
            yield service
        finally:
            SWITCH.fault = None
            SWITCH.release.set()


@asynccontextmanager
async def patient_service(tmp_path: Path) -> AsyncIterator[MemoryService]:
    async with running_service(tmp_path / "memory", profile="patient", **write_config(tmp_path)) as service:
        yield service


async def until_told(service: MemoryService, said: str) -> None:
    """Wait until the status, which tells nobody by itself, shows an error that says this."""
    async with asyncio.timeout(60):
        while (error := (await service.status()).last_error) is None or said not in error:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("raises", "The reranker failed, so these are in the order of the first search."),
        ("memory", "The reranker failed, so these are in the order of the first search."),
        ("nan", "The reranker failed, so these are in the order of the first search."),
        ("hangs", "The reranker took longer than 2 s, so these are in the order of the first search."),
    ],
)
async def test_a_reranker_in_trouble_costs_the_order_and_no_hit(tmp_path: Path, fault: Fault, sentence: str) -> None:
    async with faulty_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        SWITCH.fault = fault
        result = await ask(service, "when does the pizza place close")
        assert texts(result)[0] == PIZZA
        assert result.degraded == sentence
        assert all(hit.rerank_score is None for hit in result.hits)
        status = await service.status()
        assert "faulty" in str(status.last_error)
        assert ("a call has been running for" in status.device) == (fault == "hangs")
        SWITCH.fault = None
        SWITCH.release.set()
        well = await ask(service, "at what time does the pizza place close")
        assert well.degraded is None
        assert well.reranker == "faulty"


async def test_a_call_that_never_comes_back_is_given_up_and_the_device_goes_on(tmp_path: Path) -> None:
    async with faulty_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        with service.slot.acquire() as loadout:
            loadout.worker.hang_after = 0.5
        SWITCH.fault = "hangs"
        assert "took longer" in str((await ask(service, "pizza place")).degraded)
        SWITCH.fault = None  # but the first call still hangs
        well = await ask(service, "where is the pizza place")
        assert well.degraded is None
        assert well.reranker == "faulty"
        await service.remember([message(9, "Something new about lighthouses")])
        await asyncio.wait_for(service.drain(), 20)
        assert "Something new about lighthouses" in texts(await ask(service, "lighthouses"))


@pytest.mark.parametrize("fault", ["raises", "memory"])
async def test_an_embedder_in_trouble_leaves_the_search_by_words_and_loses_nothing(
    tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogs.memory.ingest.worker.RETRY_SECONDS", (0.05,))
    switch = Switch(fault)
    async with patient_service(tmp_path) as service:
        with service.slot.acquire() as loadout:
            encoder = loadout.embedder._encoder
            assert encoder is not None
            loadout.embedder._encoder = FaultyEncoder(encoder, switch)
        await service.remember(CHAT)
        result = await ask(service, "pizza place")
        assert texts(result)[0] == PIZZA
        assert "found by their words" in str(result.degraded)
        await until_told(service, "")
        assert (await service.status()).queue == len(CHAT)
        switch.fault = None
        await asyncio.wait_for(service.drain(), 20)
        assert (await service.status()).queue == 0
        assert texts(await ask(service, "Italian food in town"))[0] == PIZZA


async def test_one_message_that_cannot_be_embedded_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with patient_service(tmp_path) as service:
        with service.slot.acquire() as loadout:
            encoder = loadout.embedder._encoder
            assert encoder is not None
            loadout.embedder._encoder = FaultyEncoder(encoder, Switch(), poison="knocked")
        await service.remember(CHAT)
        await asyncio.wait_for(service.drain(), 20)
        status = await service.status()
        assert status.queue == 0
        assert "1 message(s) could not be embedded" in str(status.last_error)
        assert CHAT[1].content in texts(await ask(service, "router")), "it is found by its words"
        assert texts(await ask(service, "Italian food in town"))[0] == PIZZA


async def test_an_embedder_that_hangs_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cogs.memory.ingest.worker.EMBED_SECONDS", 0.3)
    monkeypatch.setattr("cogs.memory.ingest.worker.RETRY_SECONDS", (0.05,))
    switch = Switch("hangs")
    async with patient_service(tmp_path) as service:
        with service.slot.acquire() as loadout:
            loadout.worker.hang_after = 0.2
            encoder = loadout.embedder._encoder
            assert encoder is not None
            loadout.embedder._encoder = FaultyEncoder(encoder, switch)
        await service.remember(CHAT)
        await until_told(service, "hangs")
        switch.fault = None
        await asyncio.wait_for(service.drain(), 20)
        assert texts(await ask(service, "Italian food in town"))[0] == PIZZA
        switch.release.set()
