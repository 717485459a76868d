"""Whatever arrives: it is cut and cleaned, or set aside with a word in the status, and holds nobody up."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from cogs.memory.errors import Unstorable
from cogs.memory.records import Attachment, ChannelInfo, IncomingMessage
from cogs.memory.service import MemoryService
from cogs.memory.storage.messages import MessageStore, Saved
from cogs.memory.text.bounds import CONTENT_CHARACTERS, NAME_CHARACTERS, bounded_message, cleaned
from cogs.memory.text.status_lines import status_lines
from tests.memory.building import GENERAL, GUILD, ask, message, running_service, texts

BROKEN = "\ud800 \x00 \udfff"


async def stored(service: MemoryService, query: str = "apple") -> list[str]:
    return texts(await ask(service, query))


async def test_a_broken_message_is_cleaned_and_those_behind_it_are_kept(
    tmp_path: Path,
    where: dict[str, Any],
) -> None:
    async with running_service(tmp_path, **where) as service:
        await service.upsert_guild(GUILD, f"Guild {BROKEN}")
        await service.upsert_channels([ChannelInfo(GENERAL, GUILD, f"general {BROKEN}")])
        file = Attachment(1, f"apple {BROKEN}.txt", "https://x\ud800\x00", "text/plain\x00")
        bad = message(1, f"apple {BROKEN}", author_name=f"Ann\x00{BROKEN}", embed_text=BROKEN, attachments=(file,))
        assert await service.remember([bad, message(2, "apple pie")]) == 2
        await service.drain()
        assert sorted(await stored(service)) == ["apple pie", "apple �  �"]
        assert not [line for line in status_lines(await service.status(GUILD)) if "could not be stored" in line]


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "time": {"created_at": dt.datetime(9999, 12, 31, 23, 59, 59, 999999, dt.UTC)},
    "before Discord": {"created_at": dt.datetime(1970, 1, 1, tzinfo=dt.UTC)},
    "id": {"id": 2**63},
    "author": {"author_id": 2**70},
    "none": {"author_id": 0},
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
async def test_what_cannot_be_stored_is_set_aside_and_told(
    tmp_path: Path,
    where: dict[str, Any],
    what: str,
) -> None:
    async with running_service(tmp_path, **where) as service:
        bad = message(3, "apple impossible", **IMPOSSIBLE[what])
        assert await service.remember([message(1, "apple one"), bad, message(2, "apple two")]) == 2
        await service.drain()
        assert sorted(await stored(service)) == ["apple one", "apple two"]
        lines = status_lines(await service.status(GUILD))
        assert [line for line in lines if "1 message could not be stored" in line]
        assert not [line for line in status_lines(await service.status(GUILD + 1)) if "could not" in line]


@pytest.mark.parametrize("error", [Unstorable("no"), UnicodeEncodeError("utf-8", "x", 0, 1, "no"), OverflowError()])
async def test_what_the_database_refuses_is_found_and_set_aside_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    save = MessageStore.save

    def refusing(store: MessageStore, messages: list[IncomingMessage], *, mark_seen: bool = True) -> Saved:
        if any("poison" in each.content for each in messages):
            raise error
        return save(store, messages, mark_seen=mark_seen)

    monkeypatch.setattr(MessageStore, "save", refusing)
    async with running_service(tmp_path) as service:
        batch = [message(n, "apple poison" if n == 3 else f"apple {n}") for n in range(1, 8)]
        assert await service.remember(batch) == 6
        assert (await service.status(GUILD)).set_aside == 1


async def test_the_bots_own_replies_are_not_remembered_out_of_an_export_either(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.upsert_guild(GUILD, "Guild", 777)
        own = message(1, "Here is what was said: apple", author=777, author_is_bot=True)
        assert await service.remember([own, message(2, "apple pie")], mark_seen=False) == 1
        await service.drain()
        assert await stored(service) == ["apple pie"]


def test_every_text_of_a_message_has_a_limit() -> None:
    long = "x" * 25_000_000
    file = Attachment(1, long, long, long, -1)
    kept = bounded_message(message(1, long, author_name=long, embed_text=long, attachments=(file,) * 1000))
    assert len(kept.content) == CONTENT_CHARACTERS
    assert len(kept.author_name) == NAME_CHARACTERS
    total = len(kept.content) + len(kept.embed_text) + sum(len(f.filename) + len(f.url) for f in kept.attachments)
    assert total < 40_000
    assert {f.size for f in kept.attachments} == {0}


def test_halves_of_a_pair_become_one_and_a_half_alone_a_mark() -> None:
    assert cleaned("\ud83d\ude00 \ud83d", 10) == "😀 �"
    assert cleaned("a\x00b", 10) == "ab"
    assert cleaned("abc", 2) == "ab"
