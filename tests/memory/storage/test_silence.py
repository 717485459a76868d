"""Whoever said stop is not named, quoted or forwarded by the messages of others either."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cogs.memory.service import MemoryService
from tests.memory.building import BEN, GENERAL, GUILD, ask, message, running_service, texts

MARIA = 123_456_789_012_345_678
NOW = dt.datetime.now(dt.UTC)


async def stored(service: MemoryService) -> list[tuple[str, str]]:
    """Return what Ben's messages say, and what they show beside it."""
    data = await service.export_person(BEN, GUILD)
    return [(each["content"], each["embed_text"]) for each in data["messages"]]


def bens(number: int, content: str, **more: Any) -> Any:
    return message(number, content, BEN, created_at=NOW, **more)


SAYING = [
    bens(10, f"thanks <@{MARIA}> and <@!{MARIA}>"),
    bens(11, "thanks @Maria Rossi, see you; @Maria stays unknown"),
    bens(12, "look", embed_text=f"a card\nwritten by {MARIA} or <@{MARIA}>"),
    bens(13, "quoted:", embed_text="Maria Rossi\nmy very own words"),
]
SAID = [
    ("thanks @someone and @someone", ""),
    ("thanks @someone, see you; @Maria stays unknown", ""),
    ("look", "a card\nwritten by @someone or @someone"),
    ("quoted:", ""),
]


@pytest.mark.parametrize("first", ["the messages", "the opt-out"])
async def test_ids_names_and_quotations_go_from_what_others_wrote(
    tmp_path: Path, where: dict[str, Any], first: str
) -> None:
    own = message(1, "my very own words", MARIA, author_name="Maria Rossi")
    async with running_service(tmp_path, **where) as service:
        await service.remember([own])
        if first == "the messages":
            await service.remember(SAYING)
        await service.opt_out(MARIA, GUILD)
        if first == "the opt-out":
            await service.remember(SAYING)
        await service.drain()
        assert await stored(service) == SAID
        found = await ask(service, f"{MARIA} own words Rossi")
        assert not any(str(MARIA) in f"{hit.message.content} {hit.message.embed_text}" for hit in found.hits)
        await service.opt_in(MARIA, GUILD)
        await service.remember([bens(20, "hello @Maria Rossi")])
        assert (await stored(service))[-1] == ("hello @Maria Rossi", "")


async def test_forwards_of_them_go_and_none_comes_in(tmp_path: Path, where: dict[str, Any]) -> None:
    own = message(1, "my very own words", MARIA)
    forward = bens(10, "", embed_text="my very own words", forwarded_from=own.id)
    other = bens(11, "", embed_text="somebody else's", forwarded_from=4)
    async with running_service(tmp_path, **where) as service:
        await service.remember([own, forward, other])
        assert await service.opt_out(MARIA, GUILD) == 1
        assert await stored(service) == [("", "somebody else's")]
        await service.remember([replace(forward, id=forward.id + 1)])
        unseen = message(3, "said in silence", MARIA, created_at=NOW)
        await service.remember([unseen])
        await service.remember([bens(12, "", embed_text="said in silence", forwarded_from=unseen.id)])
        assert await stored(service) == [("", "somebody else's")]
        await service.opt_in(MARIA, GUILD)
        assert await service.remember([unseen]) == 0, "what was said in that time stays out"


async def test_an_embed_that_shows_their_picture_is_left_out(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.opt_out(MARIA, None)
        await service.remember([bens(10, "see", embed_text="An Alias\nwords of hers", quoted=(MARIA,))])
        assert await stored(service) == [("see", "")]


async def test_a_proxys_message_belongs_to_whoever_it_repeats(tmp_path: Path, where: dict[str, Any]) -> None:
    webhook: dict[str, Any] = {"author": 9_001, "author_name": "Alter", "webhook": True, "author_is_bot": True}
    said = message(10, "[I like   lighthouses]", BEN, created_at=NOW)
    proxied = message(11, "I like lighthouses", created_at=NOW + dt.timedelta(seconds=2), **webhook)
    later = message(12, "I like lighthouses", created_at=NOW + dt.timedelta(minutes=5), **webhook)
    news = message(13, "The daily lighthouse news", created_at=NOW, **webhook)
    async with running_service(tmp_path, **where) as service:
        await service.remember([said])
        await service.forget_messages(GUILD, [said.id])
        assert await service.remember([proxied, later, news]) == 3
        assert [m["content"] for m in (await service.export_person(BEN, GUILD))["messages"]] == ["I like lighthouses"]
        assert await service.opt_out(BEN, GUILD) == 1
        assert sorted(texts(await ask(service, "lighthouse"))) == sorted([later.content, news.content])
        again = replace(said, id=said.id + 100, created_at=NOW + dt.timedelta(hours=1))
        spoken = replace(proxied, id=proxied.id + 100, created_at=NOW + dt.timedelta(hours=1, seconds=1))
        named = replace(news, id=news.id + 100, content="named by the API", proxied_for=BEN)
        assert await service.remember([again]) == 0
        assert await service.remember([spoken, named]) == 0
    async with running_service(tmp_path, webhooks="known", **where) as service:
        assert await service.remember([replace(news, id=news.id + 200)]) == 0, "nobody knows whose it is"
        assert await service.remember([message(40, "by a person", channel=GENERAL, created_at=NOW)]) == 1
