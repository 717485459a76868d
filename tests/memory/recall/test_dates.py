from __future__ import annotations

import datetime as dt
from contextlib import suppress
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogs.memory.errors import BadRequest
from cogs.memory.recall.dates import parse_when, time_hints
from cogs.memory.text.bounds import EARLIEST, LATEST

NOW = dt.datetime(2026, 6, 3, 15, 30, tzinfo=dt.UTC)  # a Wednesday


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01", "1970", "9999"])
@pytest.mark.parametrize("end", [True, False])
def test_a_date_outside_of_all_messages_is_the_nearest_bound(text: str, end: bool) -> None:
    with suppress(BadRequest):  # told like any other text that is no date
        assert EARLIEST <= parse_when(text, NOW, end_of=end) <= LATEST


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-03-01", utc(2026, 3, 1), utc(2026, 3, 2)),
        ("2026-03", utc(2026, 3, 1), utc(2026, 4, 1)),
        ("2025", utc(2025, 1, 1), utc(2026, 1, 1)),
        ("2026-03-01T10:00:00+02:00", utc(2026, 3, 1, 8), utc(2026, 3, 1, 8)),
        ("today", utc(2026, 6, 3), utc(2026, 6, 4)),
        ("yesterday", utc(2026, 6, 2), utc(2026, 6, 3)),
        ("last tuesday", utc(2026, 6, 2), utc(2026, 6, 3)),
        ("Last  Wednesday", utc(2026, 5, 27), utc(2026, 5, 28)),
        ("monday", utc(2026, 6, 1), utc(2026, 6, 2)),
        ("3 days ago", utc(2026, 5, 31), utc(2026, 6, 1)),
        ("2 weeks ago", utc(2026, 5, 20), utc(2026, 5, 27)),
        ("two weeks ago", utc(2026, 5, 20), utc(2026, 5, 27)),
        ("a month ago", utc(2026, 5, 1), utc(2026, 6, 1)),
        ("2 hours ago", utc(2026, 6, 3, 13, 30), utc(2026, 6, 3, 13, 30)),
        ("last week", utc(2026, 5, 25), utc(2026, 6, 1)),
        ("last month", utc(2026, 5, 1), utc(2026, 6, 1)),
        ("this year", utc(2026, 1, 1), utc(2027, 1, 1)),
        ("march", utc(2026, 3, 1), utc(2026, 4, 1)),
        ("in March", utc(2026, 3, 1), utc(2026, 4, 1)),
        ("November", utc(2025, 11, 1), utc(2025, 12, 1)),
        ("may 2024", utc(2024, 5, 1), utc(2024, 6, 1)),
        ("3 May", utc(2026, 5, 3), utc(2026, 5, 4)),
        ("Dec 24th", utc(2025, 12, 24), utc(2025, 12, 25)),
        ("May 3, 2025", utc(2025, 5, 3), utc(2025, 5, 4)),
        ("last spring", utc(2026, 3, 1), utc(2026, 6, 1)),
        ("last summer", utc(2025, 6, 1), utc(2025, 9, 1)),
        ("winter 2024", utc(2024, 12, 1), utc(2025, 3, 1)),
        ("昨天", utc(2026, 6, 2), utc(2026, 6, 3)),
        ("gestern", utc(2026, 6, 2), utc(2026, 6, 3)),
        ("il y a 3 jours", utc(2026, 5, 31), utc(2026, 6, 1)),
        ("25/12/2025", utc(2025, 12, 25), utc(2025, 12, 26)),
    ],
)
def test_dates_as_people_write_them(text: str, start: dt.datetime, end: dt.datetime) -> None:
    assert parse_when(text, NOW) == start
    assert parse_when(text, NOW, end_of=True) == end


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "x",
        "a",
        "7",
        "soon",
        "2026-13-45",
        "2026-02-31",
        "31 february",
        "banana",
        "0000-01-01",
        "99999999 days ago",
        "' OR 1=1",
        "@everyone",
        "\u202e",
        "1" * 500,
        "tomorrowish",
        "🐟",
    ],
)
def test_what_is_no_date_gets_one_sentence_with_examples(text: str) -> None:
    with pytest.raises(BadRequest, match="as a date; write it like 2026-03-01") as caught:
        parse_when(text, NOW)
    assert len(str(caught.value)) < 160
    assert "@everyone" not in str(caught.value)


def test_a_date_that_could_be_two_is_asked_back() -> None:
    with pytest.raises(BadRequest, match="could be two dates; write it like 2026-03-04"):
        parse_when("3/4/2026", NOW)


def test_days_begin_where_the_person_is() -> None:
    tokyo = ZoneInfo("Asia/Tokyo")
    assert parse_when("today", utc(2026, 6, 2, 20), tz=tokyo) == utc(2026, 6, 2, 15)
    assert parse_when("today", utc(2026, 6, 2, 20)) == utc(2026, 6, 2)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.text(max_size=40), st.from_regex(r"(last|in|\d{1,4}) (may|spring|\d{1,6} (days|weeks|years) ago|\d+)"))
)
def test_any_text_is_a_time_or_one_sentence(text: str) -> None:
    with suppress(BadRequest):
        start, end = parse_when(text, NOW), parse_when(text, NOW, end_of=True)
        assert start.tzinfo is dt.UTC
        assert start <= end
    hint = time_hints(text, NOW)
    assert hint is None or hint[0] < hint[1]


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ("what did Ana say last spring about the fence?", utc(2026, 3, 1), utc(2026, 6, 1)),
        ("who moved the server in March?", utc(2026, 3, 1), utc(2026, 4, 1)),
        ("the plan from two weeks ago", utc(2026, 5, 16), utc(2026, 5, 25)),
        ("what happened yesterday", utc(2026, 6, 2), utc(2026, 6, 3)),
        ("decisions since april", utc(2026, 4, 1), NOW),
        ("anything before May 2026?", utc(2015, 1, 1), utc(2026, 5, 1)),
        ("what changed after 2026-05-20?", utc(2026, 5, 21), NOW),
        ("raids between march and may", utc(2026, 3, 1), utc(2026, 6, 1)),
        ("the last three days", utc(2026, 5, 31), NOW),
        ("in 2025 we met where?", utc(2025, 1, 1), utc(2026, 1, 1)),
        ("what did he promise on monday", utc(2026, 6, 1), utc(2026, 6, 2)),
        ("our summer of 2024 meetup", utc(2024, 6, 1), utc(2024, 9, 1)),
        ("昨天说了什么", utc(2026, 6, 2), utc(2026, 6, 3)),
        ("meeting on 3 May", utc(2026, 5, 3), utc(2026, 5, 4)),
    ],
)
def test_time_words_in_a_question(query: str, start: dt.datetime, end: dt.datetime) -> None:
    assert time_hints(query, NOW) == (start, end)


@pytest.mark.parametrize(
    "query",
    [
        "may I use the server?",
        "when do we march on the castle",
        "did the wall fall down",
        "before the move",
        "what is the code of the gate 2025x",
        "who is April?",
        "the sun came out, second try",
        "10.0.12.3 is the address",
        "",
    ],
)
def test_words_that_only_look_like_time_are_none(query: str) -> None:
    assert time_hints(query, NOW) is None
