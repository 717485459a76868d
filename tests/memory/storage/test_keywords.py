"""The terms under which a message is found by its words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from cogs.memory.records import Attachment, Filters, Scope
from cogs.memory.service import MemoryService
from cogs.memory.storage import keyword_index as repository_keywords
from cogs.memory.storage import keyword_plan
from cogs.memory.storage.bm25 import PLACE, place
from cogs.memory.text.terms import MAX_TERMS, keyword_query, keyword_text, terms
from tests.memory.building import ANNA, BEN, GENERAL, GUILD, SECRET, message, running_service

LOUNGE = 1_003


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("She was planting the leeks", "plants leek"),
        ("The berries stopped", "berry stop"),
        ("Café", "cafe"),
        ("ＦＵＬＬ width", "full"),
        ("我们明天去北京开会", "北京"),
        ("naïve Ärger", "NAIVE ARGER"),
    ],
)
def test_what_was_written_is_found_as_it_is_asked(written: str, asked: str) -> None:
    assert set(terms(asked)) <= set(terms(written))


def test_stop_words_count_only_where_there_is_nothing_else() -> None:
    assert keyword_query("What did the boat cost?") == ["boat", "cost"]
    assert keyword_query("who is it") == ["who", "is", "it"]
    assert keyword_query("?!") == []


def test_a_query_is_bounded() -> None:
    assert len(keyword_query(" ".join(f"word{i}" for i in range(500)))) == MAX_TERMS
    assert keyword_query("boat boat Boat boats") == ["boat"]


@given(st.text(max_size=200))
def test_no_text_breaks_it_and_the_index_reads_back_what_was_written(text: str) -> None:
    assert keyword_text(text).split() == terms(text)


@given(st.text(max_size=200))
def test_no_text_spells_a_channel(text: str) -> None:
    assert PLACE not in keyword_text(text + place(GENERAL))


async def test_the_full_text_index_is_asked_once_and_not_for_each_message(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(i, f"Number {i} about sailing") for i in range(50)])
        asked: list[tuple[str, Any]] = []

        def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
            asked.append((statement, parameters))

        sa.event.listen(service.repository.database.engine, "before_cursor_execute", note)
        found = service.repository.keywords.candidates(["sail"], Scope.of(GUILD, [GENERAL]), Filters(), 5)
        assert len(found) == 5
        statement, parameters = next(each for each in asked if "MATCH" in each[0])
        with service.repository.database.reading() as db:
            plan = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        (asking,) = [place for place, step in enumerate(plan) if step.startswith("SCAN keywords VIRTUAL TABLE")]
        assert asking < plan.index("SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)"), plan


@pytest.fixture
async def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryService]:
    """A database with more matches than a search ranks: 40 messages in #general, 6 in another channel, and others."""
    monkeypatch.setattr(repository_keywords, "MATCHES_AT_MOST", 0)
    for module in (repository_keywords, keyword_plan):
        monkeypatch.setattr(module, "NEWEST", 20)
    async with running_service(tmp_path) as service:
        chat = [message(i, f"Number {i} about sailing") for i in range(38)]
        chat += [message(38, "The keel of our boat"), message(39, "Sailing with a new keel, sailing far")]
        small = [message(100 + i, f"Sailing in the park {i}", channel=SECRET) for i in range(4)]
        small += [message(104, "The boat has a keel", channel=SECRET), message(105, "Nothing", channel=SECRET)]
        other = [message(400 + i, f"What is for lunch {i}", channel=LOUNGE) for i in range(100)]
        await service.remember(chat + small + other)
        yield service


def candidates(service: MemoryService, channel: int, *terms: str, **more: Any) -> list[int]:
    """Return the numbers of the messages found."""
    scope, filters = Scope.of(GUILD, [channel]), Filters(**more)
    return [i & 0x3FFFFF for i, _ in service.repository.keywords.candidates(terms, scope, filters, 50)]


@pytest.fixture(params=["by the index", "by each message"])
def place_asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few channels are asked for in the index; of many, each match's channel is looked up."""
    if request.param == "by each message":
        monkeypatch.setattr(repository_keywords, "PLACES_AT_MOST", 0)


@pytest.mark.usefixtures("place_asked")
class TestManyMatches:
    async def test_a_frequent_word_does_not_hide_a_rare_one(self, crowded: MemoryService) -> None:
        assert candidates(crowded, GENERAL, "sail", "keel")[:2] == [39, 38], "what holds both comes first"
        assert candidates(crowded, GENERAL, "keel") == [38, 39], "the shorter one"

    async def test_a_word_that_nobody_wrote_hides_nothing(self, crowded: MemoryService) -> None:
        assert candidates(crowded, GENERAL, "sail", "zeppelin") == candidates(crowded, GENERAL, "sail") != []
        assert candidates(crowded, GENERAL, "zeppelin") == []

    async def test_of_a_frequent_word_alone_the_newest_are_found(self, crowded: MemoryService) -> None:
        found = candidates(crowded, GENERAL, "sail")
        assert set(found) == set(range(19, 38)) | {39}, "twenty of this scope; newer ones elsewhere push nothing out"

    async def test_frequent_words_that_stand_together_are_found_however_old(self, crowded: MemoryService) -> None:
        both = [message(200, "Bring a lantern for the sailing trip"), message(201, "A lantern, Sailing")]
        each = [message(210 + i, f"The lantern {i}") for i in range(30)]
        await crowded.remember([*both, *each, *(message(250 + i, f"Sailing {i}") for i in range(30))])
        assert candidates(crowded, GENERAL, "lantern", "sail")[:2] == [201, 200]

    async def test_another_channel_is_never_searched(self, crowded: MemoryService) -> None:
        assert set(candidates(crowded, SECRET, "sail", "keel")) == {100, 101, 102, 103, 104}
        assert candidates(crowded, SECRET, "sail", "keel")[0] == 104, "the rare word"
        assert candidates(crowded, SECRET, "sai") == []
        await crowded.remember([message(300, f"keel {place(SECRET)}")])
        assert 300 not in candidates(crowded, SECRET, "keel"), "who writes a channel's term stays where they are"
        assert candidates(crowded, GENERAL, place(SECRET)) == []

    async def test_filters_hold(self, crowded: MemoryService) -> None:
        assert candidates(crowded, SECRET, "sail", author_ids=frozenset({BEN})) == []
        await crowded.remember([message(350, "Sailing is mine", BEN, channel=SECRET)])
        assert candidates(crowded, SECRET, "sail", author_ids=frozenset({BEN})) == [350]

    async def test_what_is_forgotten_is_not_found(self, crowded: MemoryService) -> None:
        keel = message(38, "The keel of our boat")
        await crowded.forget_messages(GUILD, [keel.id])
        assert candidates(crowded, GENERAL, "keel") == [39]


async def test_many_matches_are_ordered_like_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_service(tmp_path) as service:
        await service.remember(
            [
                message(1, "We went sailing on the lake and the weather was kind to all of us that day"),
                message(2, "Sailing, sailing, over the sea"),
                message(3, "A lake without boats"),
                *(message(i, f"Filler about lunch {i}") for i in range(10, 30)),
            ]
        )
        by_index = candidates(service, GENERAL, "sail", "lake")
        monkeypatch.setattr(repository_keywords, "MATCHES_AT_MOST", 1)
        assert candidates(service, GENERAL, "sail", "lake") == by_index


async def test_a_name_taken_out_of_a_message_leaves_its_files_to_be_found(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        picture = Attachment(5, "harbour.png", "https://cdn.discordapp.com/5", "image/png", 9)
        await service.remember([message(1, f"<@{ANNA}> look", BEN, attachments=(picture,))])
        assert candidates(service, GENERAL, "harbour") == [1]
        await service.opt_out(ANNA, GUILD)
        assert candidates(service, GENERAL, "harbour") == [1]
        assert candidates(service, GENERAL, str(ANNA)) == []
