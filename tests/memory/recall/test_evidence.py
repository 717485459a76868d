"""An answer before its question: what only asks lends its probability to what answers it."""

from __future__ import annotations

from cogs.memory.recall.evidence import answers_first
from cogs.memory.records import Hit, StoredMessage
from tests.memory.building import ANNA, BEN, CARLA, GENERAL, GUILD, NAMES, START


def hit(number: int, content: str, score: float, author: int, reply_to: int | None = None) -> Hit:
    message = StoredMessage(
        number, GUILD, GENERAL, author, NAMES[author], content, START, None, reply_to, channel_name="general"
    )
    return Hit(message, 0.1, score)


PREVIOUS = {2: 1, 3: 2, 4: 3, 5: 4}
QUESTION = "Does anyone know the mooring number?"


def order(query: str, *hits: Hit) -> list[int]:
    return [found.message.id for found in answers_first(query, hits, PREVIOUS)]


def test_a_reply_stands_above_the_question_that_it_answers() -> None:
    hits = (hit(1, QUESTION, 0.8, ANNA), hit(9, "a boat", 0.3, CARLA), hit(4, "C-41, east pontoon", 0.1, BEN, 1))
    assert order("what is the mooring number", *hits) == [4, 9, 1]


def test_the_next_turn_by_somebody_else_answers_where_nobody_replies() -> None:
    hits = (hit(1, QUESTION, 0.8, ANNA), hit(2, "I mean the east one", 0.2, ANNA), hit(3, "C-41", 0.1, BEN))
    assert order("what is the mooring number", *hits)[0] == 3


def test_scores_stay_probabilities_in_falling_order() -> None:
    hits = (hit(1, QUESTION, 1.0, ANNA), hit(2, "C-41", 0.0, BEN))
    scores = [found.rerank_score or 0.0 for found in answers_first("the mooring number", hits, PREVIOUS)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_who_asks_for_a_question_gets_the_question() -> None:
    hits = (hit(1, QUESTION, 0.8, ANNA), hit(2, "C-41", 0.1, BEN))
    assert order("who asked about the mooring number", *hits) == [1, 2]


def test_without_a_question_among_them_nothing_changes() -> None:
    hits = (hit(1, "The mooring number is C-41", 0.8, ANNA), hit(2, "thanks", 0.1, BEN))
    assert answers_first("what is the mooring number", hits, PREVIOUS) == list(hits)
