"""Dates as people write them, in eight languages and more: one table of phrases and what each means."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from zoneinfo import ZoneInfo

import pytest

from cogs.memory.errors import BadRequest
from cogs.memory.recall.dates import parse_when, time_hints
from config.settings import PROJECT_DIR

BERLIN = ZoneInfo("Europe/Berlin")
NOW = dt.datetime(2026, 11, 25, 10, 30, tzinfo=BERLIN)
TABLE = PROJECT_DIR / "tests" / "data" / "dates.tsv"
ROWS = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def local(text: str) -> dt.datetime:
    return NOW if text == "now" else dt.datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def test_the_table_covers_eight_languages() -> None:
    assert len(ROWS) >= 150
    assert len({language for language, *_ in ROWS}) >= 8


@pytest.mark.parametrize(
    ("phrase", "start", "end"), [(row[1], row[2], row[-1]) for row in ROWS if row[2] != "-"], ids=lambda text: text
)
def test_a_phrase_with_one_meaning_is_read(phrase: str, start: str, end: str) -> None:
    assert parse_when(phrase, NOW, tz=BERLIN) == local(start)
    assert parse_when(phrase, NOW, end_of=True, tz=BERLIN) == local(end)


@pytest.mark.parametrize("phrase", [row[1] for row in ROWS if row[2] == "-"])
def test_a_phrase_with_none_or_two_is_refused_with_an_example(phrase: str) -> None:
    with pytest.raises(BadRequest, match=r"write it like 20\d\d-\d\d-\d\d"):
        parse_when(phrase, NOW, tz=BERLIN)


@pytest.mark.parametrize(
    "question",
    [
        "may I use the shed?",
        "can the 3 may come along",
        "may 3 people join us",
        "who wants to march on the castle",
        "cats and may flowers",
        "one more time, who has the key",
        "give me a second",
        "the second one",
        "just a second ago he was here, why",
        "we march 5 miles every week",
        "part of march music",
        "the fall of the wall",
        "after the fall of the wall",
        "the code is 14:00:22:aa",
        "who sat on the sun bed",
        "is April there?",
        "one day we will meet",
        "what was the first thing that mar said",
    ],
)
def test_words_inside_a_question_are_no_dates(question: str) -> None:
    assert time_hints(question, NOW, BERLIN) is None


@pytest.mark.parametrize(
    ("question", "start", "end"),
    [
        ("what did she say in may?", "2026-05-01", "2026-06-01"),
        ("raids between march and may", "2026-03-01", "2026-06-01"),
        ("from march to may we built", "2026-03-01", "2026-06-01"),
        ("who came on may 3rd", "2026-05-03", "2026-05-04"),
        ("the meeting on march 5", "2026-03-05", "2026-03-06"),
        ("what broke last tuesday", "2026-11-24", "2026-11-25"),
        ("in the last 24 hours, who wrote", "2026-11-24 10:30", "now"),
    ],
)
def test_time_words_inside_a_question_are(question: str, start: str, end: str) -> None:
    assert time_hints(question, NOW, BERLIN) == (local(start), local(end))


def test_english_dates_need_no_library_that_is_slow_to_load() -> None:
    probe = (
        "import sys, datetime as dt\n"
        "from cogs.memory.recall.dates import parse_when\n"
        "parse_when('last tuesday', dt.datetime.now(dt.UTC))\n"
        "parse_when('letzten Dienstag', dt.datetime.now(dt.UTC))\n"
        "sys.exit('dateparser' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", probe], cwd=PROJECT_DIR, check=False).returncode == 0
