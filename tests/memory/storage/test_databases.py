"""The same memory on SQLite and on a real PostgreSQL: found, filtered, edited, deleted, forgotten, verified."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cogs.memory.records import Filters, Scope
from cogs.memory.storage.verify import repair_stores, verify_stores
from tests.memory.building import ANNA, BEN, GENERAL, GUILD, START, ask, message, running_service, texts

CHAT = [
    message(1, "The pizza place on Harbour Street closes at nine on Sundays"),
    message(2, "We raid the dragon's lair on Friday at eight, see https://example.org/raid", BEN),
    message(3, "我們明天去台北看電影", BEN),
    message(4, "Thanks <@501>, I will bring potions", BEN),
]


async def test_a_life_of_messages(tmp_path: Path, where: dict[str, Any]) -> None:
    async with running_service(tmp_path, **where) as service:
        assert await service.remember(CHAT) == 4
        assert await service.remember(CHAT) == 0
        await service.drain()
        assert texts(await ask(service, "Italian food"))[0] == CHAT[0].content
        assert "我們明天去台北看電影" in texts(await ask(service, "台北"))
        assert texts(await ask(service, "raid", filters=Filters(has="link"))) == [CHAT[1].content]
        assert await service.authors(scope_of_general(), "be") == [(BEN, "Ben")]

        edited = replace(CHAT[0], content="The sushi bar opens at noon", edited_at=START.replace(hour=20))
        assert await service.edit(edited)
        assert not any("pizza" in text for text in texts(await ask(service, "pizza")))

        assert await service.forget_messages(GUILD, [CHAT[1].id]) == 1
        assert await service.remember([CHAT[1]]) == 0
        await service.drain()
        found = verify_stores(service.repository)
        assert found.agrees, found.sentence
        assert (found.messages, found.queued) == (3, 0)

        exported = await service.export_person(ANNA, GUILD)
        assert [m["content"] for m in exported["messages"]] == ["The sushi bar opens at noon"]
        assert await service.opt_out(ANNA, GUILD) == 1
        assert await service.is_opted_out(ANNA, GUILD)
        assert not await service.is_opted_out(BEN, GUILD)
        assert await service.remember([message(9, "I am back", ANNA)]) == 0
        assert "Thanks @someone, I will bring potions" in texts(await ask(service, "potions"))
        await service.opt_in(ANNA, GUILD)
        assert await service.remember([message(10, "I am back indeed", ANNA, created_at=dt.datetime.now(dt.UTC))]) == 1
        reach = await service.reach(scope_of_general())
        assert (reach.messages, reach.channels) == (3, 1)
    async with running_service(tmp_path, **where) as service:
        assert "I am back indeed" in texts(await ask(service, "back indeed"))


async def test_verify_sees_what_is_wrong_and_repair_mends_it(tmp_path: Path, where: dict[str, Any]) -> None:
    async with running_service(tmp_path, **where) as service:
        await service.remember(CHAT)
        await service.drain()
        with service.repository.database.writing() as db:
            db.execute(sa.text("DELETE FROM keywords WHERE rowid = :id"), {"id": CHAT[0].id})
            db.execute(sa.text("DELETE FROM vectors WHERE message_id = :id"), {"id": CHAT[1].id})
            db.execute(
                sa.text("INSERT INTO tombstones(message_id, guild_id) VALUES (:id, :guild)"),
                {"id": CHAT[2].id, "guild": GUILD},
            )
        broken = verify_stores(service.repository)
        assert not broken.agrees
        assert (broken.without_keywords, broken.without_vector, broken.undead) == (1, 1, 1)
        repair_stores(service.repository, tmp_path)
        await service.drain()
        mended = verify_stores(service.repository)
        assert mended.agrees, mended.sentence
        assert mended.messages == 3
        assert texts(await ask(service, "pizza Harbour"))[0] == CHAT[0].content


def scope_of_general() -> Scope:
    """The scope of somebody who reads #general."""
    return Scope.of(GUILD, [GENERAL])
