"""Catch-up: conversations, the turns that stand for them, what is decided and open, and whose eyes it is for."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cogs.commands.asker import Asker
from cogs.commands.catch_up import CatchUpCommand, catch_up
from cogs.memory.errors import BadRequest
from cogs.memory.recall.digest import TURNS, digests
from cogs.memory.records import Scope, StoredMessage
from cogs.memory.service import MemoryService
from tests.memory.building import ANNA, BEN, CARLA, GENERAL, GUILD, SECRET, START, message, running_service

NOW = START + dt.timedelta(days=2)
BENS = Asker(BEN, NOW, Scope.of(GUILD, [GENERAL]), GUILD)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[MemoryService]:
    async with running_service(tmp_path) as service:
        await service.remember(
            [
                message(1, "I was here last", author=BEN),
                message(100, "Which sail shall we mend before the regatta?", author=ANNA),
                message(101, "ok", author=CARLA),
                message(102, "The old jib, its clew is torn", author=CARLA, reply_to_id=message(100, "").id),
                message(103, "Agreed, we will take the jib to the sailmaker", author=ANNA),
                message(400, f"<@{BEN}> can you bring the trailer on Friday?", author=CARLA),
                message(900, "Lunch was nice today indeed", author=ANNA),
                message(901, "Keepers only: the code is 4711", author=ANNA, channel=SECRET),
            ]
        )
        await service.drain()
        yield service


async def test_conversations_since_the_asker_last_wrote_mentions_first(service: MemoryService) -> None:
    answer = await catch_up(service, BENS, CatchUpCommand())
    assert answer.found[0].first.content.startswith("<@")
    sails = next(digest for digest in answer.found if "sail" in digest.first.content)
    assert sails.messages == 4
    assert sails.people == ("Anna", "Carla")
    assert {turn.content for turn in sails.turns} >= {
        "Which sail shall we mend before the regatta?",
        "The old jib, its clew is torn",
    }
    assert "ok" not in {turn.content for turn in sails.turns}
    assert sails.decided is not None
    assert sails.decided.content.startswith("Agreed")
    assert sails.open is None
    assert answer.found[0].open is not None, "nobody answered about the trailer"
    text = answer.as_text()
    assert "@you" in text
    assert "open: " in text
    assert "decided: " in text
    assert "https://discord.com/channels/" in text
    assert "drew replies" in text, "how it was chosen is said"
    assert "I was here last" not in text
    assert "4711" not in text


async def test_a_span_a_channel_and_an_empty_one(service: MemoryService) -> None:
    later = await catch_up(service, BENS, CatchUpCommand(since="2026-03-02"))
    assert [digest.first.content for digest in later.found] == ["Lunch was nice today indeed"]
    nothing = await catch_up(service, BENS, CatchUpCommand(since="1 hour ago"))
    assert "Nothing was said" in nothing.as_text()
    for command, sentence in (
        (CatchUpCommand(since="2020-01-01"), "31 days"),
        (CatchUpCommand(since="2027-01-01"), "not come yet"),
        (CatchUpCommand(since="once upon a time"), "cannot read"),
        (CatchUpCommand(channel="secret"), "There is no channel"),
    ):
        with pytest.raises(BadRequest, match=sentence):
            await catch_up(service, BENS, command)


async def test_who_never_wrote_gets_the_last_day_and_nothing_outside_of_their_scope(service: MemoryService) -> None:
    stranger = Asker(777, START + dt.timedelta(hours=20), Scope.of(GUILD, [GENERAL]), GUILD)
    assert len((await catch_up(service, stranger, CatchUpCommand())).found) == 4
    nobody = Asker(777, NOW, Scope({}), GUILD)
    assert (await catch_up(service, nobody, CatchUpCommand(since="2026-03-01"))).found == ()
    both = Asker(CARLA, NOW, Scope.of(GUILD, [GENERAL, SECRET]), GUILD)
    assert "4711" in (await catch_up(service, both, CatchUpCommand(since="2026-03-01"))).as_text()


def _stored(number: int, rng: random.Random) -> StoredMessage:
    words = " ".join(rng.choices("sail jib mast keel rope tide wind crew deck hull".split(), k=12))
    reply = number - rng.randint(1, 20) if rng.random() < 0.3 else None
    author = rng.randint(1, 30)
    when = START + dt.timedelta(minutes=2 * number)
    mark = "?" if number % 7 == 0 else ""
    return StoredMessage(number, GUILD, rng.randint(1, 9), author, f"p{author}", words + mark, when, None, reply)


def test_every_message_of_a_busy_week_belongs_to_one_conversation() -> None:
    rng = random.Random(5)
    messages = [_stored(number, rng) for number in range(1, 5001)]
    found = digests(messages, 3, apart=[9])
    assert sum(digest.messages for digest in found) == len(messages)
    assert all(1 <= len(digest.turns) <= TURNS for digest in found)
    threads = [digest for digest in found if digest.channel_id == 9]
    assert len(threads) == 1
