"""The terms under which a message is found by its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from cogs.memory.keywords import MAX_TERMS, keyword_query, keyword_text, terms
from cogs.memory.records import Filters, Scope
from tests.memory.building import GENERAL, GUILD, message, running_service


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
        assert plan[0].startswith("SCAN keywords VIRTUAL TABLE"), plan
        assert "SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)" in plan
