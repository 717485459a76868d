"""The memory from outside: what was said is found, by those who may read it, and nothing else is."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cogs.memory.errors import BadRequest, ProfileError, StorageError
from cogs.memory.records import Filters, RecallRequest, Scope
from cogs.memory.reranker_service import RerankerService
from cogs.memory.service import MemoryService
from tests.memory.building import (
    ANNA,
    BEN,
    GENERAL,
    GUILD,
    SECRET,
    START,
    ask,
    message,
    running_service,
    settings_in,
    texts,
)

PIZZA = "The pizza place on Harbour Street closes at nine on Sundays"
RAID = "We raid the dragon's lair on Friday at eight, bring potions"
CHAT = [
    message(1, PIZZA, ANNA),
    message(2, RAID, BEN),
    message(3, "My cat knocked over the router again", ANNA),
    message(4, "我們明天去台北看電影", BEN),
    message(5, "The vault code is 7741", BEN, SECRET),
]


async def test_finds_by_meaning_what_shares_no_word_with_the_question(tmp_path: Path) -> None:
    async with running_service(tmp_path, profile="cpu") as service:
        await service.remember(CHAT)
        await service.drain()
        result = await ask(service, "when can we get Italian food")
        assert texts(result)[0] == PIZZA
        assert result.reranker == "mneme-reranker"
        assert all(0 <= (hit.rerank_score or -1) <= 1 for hit in result.hits)
        assert result.degraded is None


async def test_a_crowd_is_answered_from_a_less_deep_search(tmp_path: Path) -> None:
    profiles = tmp_path / "profiles.yaml"
    profiles.write_text("patient: {reranker: null, deadline_ms: 100000}\n")  # however busy the machine is
    async with running_service(tmp_path, profile="patient", profiles_file=profiles) as service:
        await service.remember(CHAT)
        await service.drain()
        crowd = await asyncio.gather(*(ask(service, f"when does the pizza place close {i}") for i in range(30)))
        assert all(texts(result)[0] == PIZZA for result in crowd)
        assert any("less deep" in (result.degraded or "") for result in crowd)
        assert "less deep" not in ((await ask(service, "when does the pizza place close")).degraded or "")


async def test_scope_is_a_wall(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        outside = await ask(service, "what is the vault code 7741")
        assert not any("7741" in text for text in texts(outside))
        inside = await ask(service, "what is the vault code 7741", GENERAL, SECRET)
        assert texts(inside)[0].endswith("7741")
        nowhere = await service.recall(RecallRequest("vault code", Scope({})))
        assert nowhere.hits == ()
        assert nowhere.reach.messages == 0
        foreign = await service.recall(RecallRequest("vault code", Scope.of(GUILD + 1, [GENERAL, SECRET])))
        assert foreign.hits == (), "a channel id under another server's name opens nothing"


async def test_two_chinese_characters_are_found(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        assert "我們明天去台北看電影" in texts(await ask(service, "台北"))


async def test_filters_by_author_time_and_attachment(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        by_ben = await ask(service, "pizza raid cat", filters=Filters(author_ids=frozenset({BEN})))
        assert {hit.message.author_id for hit in by_ben.hits} == {BEN}
        late = await ask(service, "pizza raid cat", filters=Filters(after=START + dt.timedelta(minutes=3)))
        assert {hit.message.id for hit in late.hits} <= {CHAT[2].id, CHAT[3].id}
        assert late.hits
        none = await ask(service, "pizza", filters=Filters(has="image"))
        assert none.hits == ()
        assert none.reach.messages == 4


async def test_an_edit_replaces_the_old_text_everywhere(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        edited = replace(CHAT[0], content="The sushi bar on Mill Lane opens at noon", edited_at=START + dt.timedelta(1))
        assert await service.edit(edited)
        assert not any("pizza" in text for text in texts(await ask(service, "pizza Harbour Street")))
        await service.drain()
        assert texts(await ask(service, "where is the japanese restaurant"))[0].startswith("The sushi bar")
        stale = replace(CHAT[0], content=PIZZA)
        assert not await service.edit(stale), "an older version that arrives late changes nothing"
        assert not any("pizza" in text for text in texts(await ask(service, "pizza")))


async def test_a_deleted_message_does_not_come_back(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        assert await service.forget_messages(GUILD, [CHAT[0].id]) == 1
        assert PIZZA not in texts(await ask(service, "pizza place on Harbour Street"))
        assert await service.remember(CHAT) == 0, "an import or a late event does not bring it back"
        assert PIZZA not in texts(await ask(service, "pizza place on Harbour Street"))
        early = message(40, "never seen before it was deleted")
        await service.forget_messages(GUILD, [early.id])
        assert await service.remember([early]) == 0, "a deletion that overtakes its creation wins"


async def test_a_deletion_during_embedding_wins(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        for number in range(100, 120):
            one = message(number, f"ephemeral note number {number}")
            await service.remember([one])
            await asyncio.sleep(0.002)
            await service.forget_messages(GUILD, [one.id])
        await service.drain()
        with service.slot.acquire() as loadout:
            assert len(loadout.indexes.store(GUILD)) == 0
        assert (await ask(service, "ephemeral note")).hits == ()


async def test_another_server_cannot_delete_ours(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        assert await service.forget_messages(GUILD + 1, [CHAT[0].id]) == 0
        assert PIZZA in texts(await ask(service, "pizza"))


async def test_memory_survives_a_restart_without_and_with_a_damaged_snapshot(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await service.drain()
        await ask(service, "pizza")
    snapshots = [p for p in (tmp_path / "indexes").rglob("*") if p.is_file()]
    assert snapshots, "a snapshot was written when the service closed"
    for path in snapshots:
        path.write_bytes(path.read_bytes()[:-20] + b"\x00" * 20)
    async with running_service(tmp_path) as service:
        assert texts(await ask(service, "Italian food in town"))[0] == PIZZA


async def test_what_was_queued_at_a_crash_is_embedded_after_the_restart(tmp_path: Path) -> None:
    service = await MemoryService.open(settings_in(tmp_path))
    await service.start()
    await service.ingest.stop()
    await service.remember(CHAT)
    assert (await service.status()).queue == len(CHAT)
    await service.close()
    async with running_service(tmp_path) as again:
        await again.drain()
        assert (await again.status()).queue == 0
        assert texts(await ask(again, "Italian food in town"))[0] == PIZZA


@pytest.mark.parametrize("query", ["", "   ", "\u200b\x00\x07", "x" * 4000])
async def test_a_bad_query_gets_a_sentence(tmp_path: Path, query: str) -> None:
    async with running_service(tmp_path) as service:
        with pytest.raises(BadRequest):
            await ask(service, query)


@pytest.mark.parametrize("query", ['"', "a AND (b OR", "NEAR(", "'; DROP TABLE messages; --", "* ^ {} : -", "🎉", "%_"])
async def test_no_query_breaks_the_search(tmp_path: Path, query: str) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(CHAT)
        await ask(service, query)
        assert (await service.status()).messages == len(CHAT)


@pytest.mark.parametrize("limit", [0, -1, 51])
async def test_a_bad_limit_gets_a_sentence(tmp_path: Path, limit: int) -> None:
    async with running_service(tmp_path) as service:
        with pytest.raises(BadRequest, match="between 1 and 50"):
            await ask(service, "pizza", limit=limit)


async def test_a_second_process_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        with pytest.raises(StorageError, match="already running"):
            await MemoryService.open(settings_in(tmp_path))
        await service.remember(CHAT)
        assert PIZZA in texts(await ask(service, "pizza"))


async def test_a_database_from_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    async with running_service(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "mneme.db")) as db, db:  # closing folds the write-ahead log into the file
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    before = (tmp_path / "mneme.db").read_bytes()
    with pytest.raises(StorageError, match="newer version"):
        await MemoryService.open(settings_in(tmp_path))
    assert (tmp_path / "mneme.db").read_bytes() == before


async def test_switching_profiles_is_hot_and_survives_a_restart(tmp_path: Path) -> None:
    async with running_service(tmp_path, profile=None) as service:
        await service.remember(CHAT)
        await service.drain()
        assert (await ask(service, "pizza")).reranker is not None
        asking = [asyncio.create_task(ask(service, "Italian food in town")) for _ in range(8)]
        await service.use_profile("minimal")
        for result in await asyncio.gather(*asking):
            assert texts(result)[0] == PIZZA
        after = await ask(service, "pizza")
        assert after.profile == "minimal"
        assert after.reranker is None
        assert after.degraded is not None
        assert "minimal" in after.degraded
    async with running_service(tmp_path, profile=None) as service:
        assert (await service.status()).profile == "minimal"


async def test_a_profile_that_cannot_run_leaves_the_old_one_running(tmp_path: Path) -> None:
    async with running_service(tmp_path, profile=None) as service:
        before = (await service.status()).profile
        with pytest.raises(ProfileError, match="GPU"):
            await service.use_profile("gpu-large")
        with pytest.raises(ProfileError, match="no profile"):
            await service.use_profile("nonsense")
        assert (await service.status()).profile == before


async def test_similar_finds_its_like_and_not_itself(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([*CHAT, message(6, "Does the pizzeria at the harbour close early on Sunday?", BEN)])
        await service.drain()
        result = await service.similar(CHAT[0].id, Scope.of(GUILD, [GENERAL]))
        assert CHAT[0].id not in {hit.message.id for hit in result.hits}
        assert "pizzeria" in texts(result)[0]
        with pytest.raises(BadRequest):
            await service.similar(CHAT[4].id, Scope.of(GUILD, [GENERAL]))


async def test_what_is_deleted_or_edited_while_the_reranker_works_is_not_shown_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(tmp_path, profile="cpu") as service:
        await service.remember([*CHAT, message(7, "The pizza at the harbour was cold", BEN)])
        await service.drain()
        loop = asyncio.get_running_loop()
        rerank = RerankerService.rerank_results
        edited = replace(CHAT[0], content="The kiosk at the harbour is open", edited_at=CHAT[0].created_at)

        async def change() -> None:
            await service.forget_messages(GUILD, [message(7, "").id])
            await service.remember([edited])

        def change_meanwhile(self: RerankerService, *given: Any) -> list[dict[str, Any]]:
            asyncio.run_coroutine_threadsafe(change(), loop).result(10)
            return rerank(self, *given)

        monkeypatch.setattr(RerankerService, "rerank_results", change_meanwhile)
        shown = texts(await ask(service, "pizza at the harbour"))
        assert "The pizza at the harbour was cold" not in shown
        assert PIZZA not in shown
        assert edited.content in shown
        with service.slot.acquire() as loadout:
            assert len(loadout.cache) == 0, "nothing is kept of what they said"
            monkeypatch.setattr(RerankerService, "rerank_results", rerank)
            await ask(service, "pizza at the harbour")
            assert len(loadout.cache) > 0


async def test_who_asked_the_same_before_takes_no_share_from_the_answer(tmp_path: Path) -> None:
    home = "I moved to Harbour Street last week, so I can walk to the boat now"
    asked = "where does Anna live?"
    async with running_service(tmp_path, profile="cpu") as service:
        await service.remember([message(1, home, ANNA), message(2, RAID, BEN)])
        await service.drain()
        (alone, *_) = (await ask(service, asked)).hits
        await service.remember([message(3, f"<@99> {asked}", BEN), message(4, "Where does Anna live", BEN)])
        await service.drain()
        for repeated in ("none", "last"):
            (first, *others) = (await ask(service, asked, repeated=repeated)).hits
            assert first.message.content == home
            assert first.rerank_score == pytest.approx(alone.rerank_score, abs=0.05)
            echoes = [hit for hit in others if "Anna live" in hit.message.content]
            assert len(echoes) == (0 if repeated == "none" else 1)
            assert not echoes or echoes[0] is others[-1]
        one = await ask(service, asked, limit=1)
        assert texts(one) == [home]
        two = await ask(service, asked, limit=2)
        assert "Anna live" in texts(two)[1], "a search still finds what was typed"


async def test_what_was_typed_is_found_first_where_it_asks_nothing(tmp_path: Path) -> None:
    async with running_service(tmp_path, profile="cpu") as service:
        await service.remember([*CHAT, message(6, "pizza place", BEN)])
        await service.drain()
        assert "pizza place" in texts(await ask(service, "pizza place", limit=2))
        similar = await service.similar(message(6, "").id, Scope.of(GUILD, [GENERAL]))
        assert PIZZA in texts(similar)


async def test_a_question_that_nobody_answered_is_found_as_it_was_asked(tmp_path: Path) -> None:
    async with running_service(tmp_path, profile="cpu") as service:
        await service.remember(
            [message(1, "Who has the blue ladder?", BEN), message(2, "Who has the blue ladder", ANNA)]
        )
        await service.drain()
        assert "blue ladder" in texts(await ask(service, "who has the blue ladder?", limit=1))[0]
        similar = await service.similar(message(1, "").id, Scope.of(GUILD, [GENERAL]))
        assert texts(similar) == ["Who has the blue ladder"]
