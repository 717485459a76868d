"""What changed: the newer statement stands above the one that it replaced; a question about the past turns it round."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from cogs.memory.recall.changes import SIGNS, ChangeWeights, about_the_past, load_change_weights, newest_first
from cogs.memory.recall.query import analyse
from cogs.memory.records import Hit, StoredMessage
from tests.memory.building import ANNA, BEN, GENERAL, GUILD, NAMES

NOW = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
LYON, GHENT, CAT = 1, 2, 3
VECTORS = {LYON: np.array([1.0, 0.0]), GHENT: np.array([0.9, 0.436]), CAT: np.array([0.3, 0.954])}
NEAR = {number: vector.astype(np.float32) for number, vector in VECTORS.items()}


def hit(number: int, content: str, score: float, when: dt.datetime, author: int = ANNA) -> Hit:
    message = StoredMessage(
        number, GUILD, GENERAL, author, NAMES[author], content, when, None, None, channel_name="general"
    )
    return Hit(message, 0.1, score)


def facts(second: int = ANNA) -> list[Hit]:
    return [
        hit(LYON, "I live in Lyon, near the river", 0.6, dt.datetime(2024, 5, 1, tzinfo=dt.UTC)),
        hit(GHENT, "I moved, I live in Ghent now", 0.3, dt.datetime(2026, 3, 1, tzinfo=dt.UTC), second),
        hit(CAT, "The cat sleeps all day", 0.01, dt.datetime(2026, 6, 1, tzinfo=dt.UTC), BEN),
    ]


def order(query: str, hits: list[Hit]) -> list[int]:
    info = analyse(query, ["Anna", "Ben"], NOW)
    return [found.message.id for found in newest_first(info, hits, NEAR)]


def test_the_newer_statement_stands_above_the_one_that_it_replaced_and_both_say_so() -> None:
    found = newest_first(analyse("where does Anna live", ["Anna", "Ben"], NOW), facts(), NEAR)
    assert [each.message.id for each in found] == [GHENT, LYON, CAT]
    assert (found[0].replaces, found[0].replaced_by) == (LYON, None)
    assert (found[1].replaces, found[1].replaced_by) == (None, GHENT)
    scores = [each.rerank_score or 0.0 for each in found]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("query", ["where did Anna live before", "where did Anna live in 2024"])
def test_a_question_about_the_past_turns_it_round(query: str) -> None:
    assert order(query, facts())[:2] == [LYON, GHENT]


def test_a_newer_message_about_something_else_or_by_somebody_else_does_not_win() -> None:
    assert order("where does Anna live", facts(second=BEN))[0] == LYON
    lyon, _, cat = facts()
    assert order("where does Anna live", [lyon, cat]) == [LYON, CAT]


@pytest.mark.parametrize(
    "query",
    [
        "Wo wohnte sie früher",
        "où vivait-elle avant",
        "她以前住在哪里",
        "以前はどこに住んでいましたか",
        "где она жила раньше",
    ],
)
def test_words_for_the_past_are_known_in_several_languages(query: str) -> None:
    assert about_the_past(query)


@pytest.mark.parametrize("query", ["how old is she", "wie alt ist sie", "where does she live"])
def test_other_questions_are_about_the_present(query: str) -> None:
    assert not about_the_past(query)


def test_the_shipped_weights_name_every_sign() -> None:
    assert len(load_change_weights().weights) == len(SIGNS)
    assert newest_first(analyse("x", [], NOW), [], {}, ChangeWeights((0.0,) * len(SIGNS), 0.9)) == []
