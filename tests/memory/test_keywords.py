"""The terms under which a message is found by its words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from cogs.memory import repository_keywords
from cogs.memory.keywords import MAX_TERMS, affordable, keyword_query, keyword_text, terms
from cogs.memory.records import Filters, Scope
from cogs.memory.service import MemoryService
from tests.memory.building import BEN, GENERAL, GUILD, SECRET, message, running_service


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


async def test_the_full_text_index_is_asked_once_and_not_for_each_message(tmp_path: Path) -> None:
    async with running_service(tmp_path) as service:
        await service.remember([message(i, f"Number {i} about sailing") for i in range(50)])
        asked: list[tuple[str, Any]] = []

        def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
            asked.append((statement, parameters))

        sa.event.listen(service.repository.engine, "before_cursor_execute", note)
        found = service.repository.keyword_candidates(["sail"], Scope.of(GUILD, [GENERAL]), Filters(), 5)
        assert len(found) == 5
        statement, parameters = next(each for each in asked if "MATCH" in each[0])
        with service.repository.reading() as db:
            plan = [row[3] for row in db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        (asking,) = [place for place, step in enumerate(plan) if step.startswith("SCAN keywords VIRTUAL TABLE")]
        assert asking < plan.index("SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)"), plan


def test_the_rarest_words_are_chosen_while_they_can_be_afforded() -> None:
    assert affordable({"boat": 5, "sea": 90, "keel": 1}, 100) == ["keel", "boat", "sea"]
    assert affordable({"boat": 5, "sea": 90, "keel": 1}, 50) == ["keel", "boat"]
    assert affordable({"sea": 90}, 50) == ["sea"]
    assert affordable({}, 50) == []


@pytest.fixture
async def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryService]:
    """A database with more matches than a search may rank: 40 messages in #general, 6 in another channel."""
    monkeypatch.setattr(repository_keywords, "MATCHES_AT_MOST", 20)
    monkeypatch.setattr(repository_keywords, "SMALL_SCOPE", 10)
    async with running_service(tmp_path) as service:
        chat = [message(i, f"Number {i} about sailing") for i in range(38)]
        chat += [message(38, "The keel of our boat"), message(39, "Sailing with a new keel, sailing far")]
        small = [message(100 + i, f"Sailing in the park {i}", channel=SECRET) for i in range(4)]
        small += [message(104, "The boat has a keel", channel=SECRET), message(105, "Nothing", channel=SECRET)]
        await service.remember(chat + small)
        yield service


def candidates(service: MemoryService, channel: int, *terms: str) -> list[int]:
    """Return the numbers of the messages found."""
    found = service.repository.keyword_candidates(terms, Scope.of(GUILD, [channel]), Filters(), 50)
    return [i & 0x3FFFFF for i, _ in found]


async def test_a_frequent_word_does_not_hide_a_rare_one(crowded: MemoryService) -> None:
    assert candidates(crowded, GENERAL, "sail", "keel") == [39, 38], "what holds both comes first"
    assert candidates(crowded, GENERAL, "keel") == [38, 39], "the shorter one"


async def test_of_a_frequent_word_alone_the_newest_are_found(crowded: MemoryService) -> None:
    found = candidates(crowded, GENERAL, "sail")
    assert set(found) == set(range(19, 38)) | {39}, "twenty of this scope; newer ones elsewhere push nothing out"


async def test_a_small_scope_is_searched_whole(crowded: MemoryService) -> None:
    assert set(candidates(crowded, SECRET, "sail", "keel")) == {100, 101, 102, 103, 104}
    assert candidates(crowded, SECRET, "sail", "keel")[0] == 104, "the rare word"
    assert candidates(crowded, SECRET, "sai") == []
    filters = Filters(author_ids=frozenset({BEN}))
    assert crowded.repository.keyword_candidates(["sail"], Scope.of(GUILD, [SECRET]), filters, 50) == []


async def test_reading_a_small_scope_orders_like_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
