"""What a query asks for: people, times, and the conversation before it."""

from __future__ import annotations

import datetime as dt

import pytest

from cogs.memory.recall.conversation import conversation_query, points_back
from cogs.memory.recall.query import analyse, repeats
from cogs.memory.records import Turn

NOW = dt.datetime(2026, 6, 10, tzinfo=dt.UTC)
PEOPLE = ["Caroline", "Melanie", "Will", "Mara K.", "james_b", "The Captain", "李明"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("When did Caroline go to the support group?", {"Caroline"}),
        ("what did caroline's sister tell MELANIE", {"Caroline", "Melanie"}),
        ("When will the boat be ready?", set()),
        ("Where did Will moor the boat?", {"Will"}),
        ("Has james repaired it?", set()),
        ("Has james_b repaired it?", {"james_b"}),
        ("What does Mara think?", {"Mara K."}),
        ("Where is the harbour?", set()),
        ("Which food does the captain like?", {"The Captain"}),
        ("What about Carolina?", set()),
        ("李明 去了哪里？", {"李明"}),
        ("", set()),
    ],
)
def test_people_are_named_and_words_are_not(query: str, names: set[str]) -> None:
    assert analyse(query, PEOPLE, NOW).names == names


def test_names_are_kept_apart_from_what_was_asked() -> None:
    info = analyse("What instrument does Caroline play?", PEOPLE, NOW)
    assert info.telling == ("instrument", "play")
    assert info.name_terms == {"caroline"}
    # A name alone is all there is to look for.
    assert analyse("Caroline?", PEOPLE, NOW).telling == ("caroline",)


def test_time_words_become_a_period_from_when_it_was_asked() -> None:
    info = analyse("What did Caroline cook last month?", PEOPLE, NOW)
    assert info.during == (dt.datetime(2026, 5, 1, tzinfo=dt.UTC), dt.datetime(2026, 6, 1, tzinfo=dt.UTC))
    assert analyse("What did Caroline cook?", PEOPLE, NOW).during is None


TURNS = (Turn("Ben", "Anyone up for lunch?"), Turn("Caroline", "I finally sold the old piano."))


@pytest.mark.parametrize(
    ("query", "back"),
    [
        ("What did she say about it?", True),
        ("why?", True),
        ("And when?", True),
        ("What about the price?", True),
        ("Which piano teacher did Caroline recommend to Ben?", False),
        ("Where is the key of the cellar that Ben's brother bought in Lisbon for it?", False),
        ("piano price", False),
    ],
)
def test_a_query_that_points_back_takes_the_turns_before_it(query: str, back: bool) -> None:
    assert points_back(query) is back
    resolved = conversation_query(query, TURNS)
    assert ("piano" in resolved and "Caroline" in resolved and query in resolved) if back else resolved == query


def test_without_turns_nothing_changes_and_long_turns_are_cut() -> None:
    assert conversation_query("What did she say about it?", ()) == "What did she say about it?"
    long = conversation_query("What did she say about it?", [Turn("Ben", "x" * 5000)] * 9)
    assert len(long) < 700


@pytest.mark.parametrize(
    ("content", "repeated"),
    [
        ("where does Nadia live", True),
        ("<@99> Where does <@!7> Nadia live??", True),
        ("where does Nadia live now?", False),
        ("Nadia lives where the bakery is", False),
        ("", False),
    ],
)
def test_a_message_repeats_the_query_by_its_words_alone(content: str, repeated: bool) -> None:
    assert repeats("Where does Nadia live?", content) is repeated


def test_signs_alone_repeat_nothing() -> None:
    assert not repeats("???", "!!")
    assert not repeats("🔥", "✨")
