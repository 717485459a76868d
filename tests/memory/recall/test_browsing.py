"""Lists by time with every filter, and the talk around a message."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cogs.commands.around import around
from cogs.commands.asker import Asker
from cogs.commands.recall import RecallCommand, recall
from cogs.memory.errors import BadRequest
from cogs.memory.records import Attachment, Scope
from cogs.memory.service import MemoryService
from tests.memory.building import ANNA, BEN, CARLA, GENERAL, GUILD, SECRET, START, message, running_service, texts

NOW = START + dt.timedelta(days=2)
ASKER = Asker(BEN, NOW, Scope.of(GUILD, [GENERAL]), GUILD)
PLAN = Attachment(1, "Harbour-Plan.PDF", "https://cdn.discordapp.com/a/Harbour-Plan.PDF", "application/pdf", 10)
CLIP = Attachment(2, "clip.mp4", "https://cdn.discordapp.com/a/clip.mp4", "video/mp4", 10)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[MemoryService]:
    async with running_service(tmp_path) as service:
        await service.remember(
            [
                message(1, "Where shall we meet?", author=ANNA),
                message(2, "At the harbour", author=BEN, reply_to_id=message(1, "").id),
                message(3, "Here is the plan", author=CARLA, attachments=(PLAN,)),
                message(4, f"<@{ANNA}> see https://docs.Example.org/tides for the tides", author=BEN),
                message(5, "", author=CARLA, embed_text="(voice message, 0:12)", attachments=(CLIP,)),
                message(6, "", author=ANNA, embed_text="Poll: Which day?\n- Friday", author_is_bot=True),
                message(7, "It says Poll: and (sticker: x) in my words only", author=BEN),
                message(8, "Secret talk about the plan", channel=SECRET),
                message(2000, "A day later", author=BEN, reply_to_id=message(3, "").id),
            ]
        )
        await service.drain()
        yield service


async def listed(service: MemoryService, **options: object) -> list[str]:
    answer = await recall(service, ASKER, RecallCommand(**options))  # type: ignore[arg-type]
    return [text or "(none)" for text in texts(answer.result)]


async def test_without_a_query_the_newest_are_listed_first(service: MemoryService) -> None:
    assert (await listed(service, sort="newest", limit=2))[0] == "A day later"
    assert await listed(service, sort="oldest", limit=2) == ["Where shall we meet?", "At the harbour"]
    text = (await recall(service, ASKER, RecallCommand(author="Carla"))).as_text()
    assert "newest first" in text
    assert "rerank" not in text
    assert "fused" not in text
    assert "Secret" not in " ".join(await listed(service, sort="newest", limit=50))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"has": "file", "file_type": "pdf"}, ["Here is the plan"]),
        ({"file_type": "*.PDF"}, ["Here is the plan"]),
        ({"file_type": "df"}, []),
        ({"has": "video"}, ["(none)"]),
        ({"has": "voice"}, ["(none)"]),
        ({"has": "sticker"}, []),
        ({"has": "poll"}, ["(none)"]),
        ({"host": "example.org"}, [f"<@{ANNA}> see https://docs.Example.org/tides for the tides"]),
        ({"host": "https://docs.example.org/"}, [f"<@{ANNA}> see https://docs.Example.org/tides for the tides"]),
        ({"host": "ample.org"}, []),
        ({"mentions": "Anna"}, [f"<@{ANNA}> see https://docs.Example.org/tides for the tides"]),
        ({"author_type": "bots"}, ["(none)"]),
        ({"author": "Ben", "during": "2026-03-01", "sort": "oldest", "limit": 1}, ["At the harbour"]),
        ({"during": "2026-03-02"}, ["A day later"]),
    ],
)
async def test_each_filter_leaves_what_it_names(
    service: MemoryService, options: dict[str, object], expected: list[str]
) -> None:
    assert await listed(service, **options) == expected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sort": "best"}, "best of what"),
        ({"during": "yesterday", "after": "2026-01-01"}, "either"),
        ({"after": "2026-06-01", "before": "2025-01-01"}, "Nothing lies between"),
        ({"host": "not a site"}, "not the name of a site"),
        ({"file_type": "p/df"}, "not a type of file"),
        ({}, "query is empty"),
    ],
)
async def test_filters_that_contradict_each_other_are_one_sentence(
    service: MemoryService, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadRequest, match=sentence):
        await listed(service, **options)


async def test_the_talk_around_a_message_with_what_it_answers_and_what_answers_it(service: MemoryService) -> None:
    second = await around(service, ASKER, message(2, "").id, before=0, after=1)
    assert [turn.content for turn in second.conversation.turns] == ["At the harbour", "Here is the plan"]
    assert second.conversation.answers_to is not None
    assert second.conversation.answers_to.content == "Where shall we meet?"
    assert (second.conversation.earlier, second.conversation.later) == (True, True)
    third = await around(service, ASKER, message(3, "").id, before=9, after=1)
    assert [turn.content for turn in third.conversation.answered_by] == ["A day later"]
    assert not third.conversation.earlier
    text = third.as_text()
    assert text.index("▶ Carla") > text.index("· Ben")
    assert "↳ Ben" in text
    assert third.as_json()["message_id"] == str(message(3, "").id)


async def test_around_a_message_that_is_gone_or_elsewhere_reads_the_same(service: MemoryService) -> None:
    said = set()
    await service.forget_messages(GUILD, [message(1, "").id])
    for number in (1, 8, 999):
        with pytest.raises(BadRequest) as refused:
            await around(service, ASKER, message(number, "").id)
        said.add(str(refused.value))
    assert len(said) == 1
    talk = await around(service, ASKER, message(2, "").id)
    assert talk.conversation.answers_to is None
