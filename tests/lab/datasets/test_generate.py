"""Generated chats: questions that can be answered from their evidence, and parts that share no words to learn."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cogs.lab.datasets.conversations import ChatTurn, Conversation
from cogs.lab.datasets.generate_chats import generate_chats, grammar
from cogs.lab.datasets.generate_questions import ask_about, question_conversation


@pytest.fixture(scope="module")
def chats() -> list[Conversation]:
    return list(generate_chats(60, "train", seed=5))


def test_the_same_seed_writes_the_same_chats_and_another_does_not() -> None:
    first, again, other = (list(generate_chats(3, "train", seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_every_question_has_evidence_in_its_own_chat_and_none_is_also_ignored(chats: list[Conversation]) -> None:
    asked = 0
    for chat in chats:
        known = {turn.id for turn in chat.turns}
        for question in chat.questions:
            asked += 1
            assert question.positives
            assert known.issuperset(question.positives)
            assert not set(question.positives) & set(question.ignored)
    assert asked > 800


def test_no_slot_or_choice_is_left_unfilled(chats: list[Conversation]) -> None:
    texts = [turn.text for chat in chats for turn in chat.turns] + [q.text for chat in chats for q in chat.questions]
    assert not [text for text in texts if any(mark in text for mark in "{}[]|")]


def test_a_question_that_names_a_person_is_answered_by_that_person(chats: list[Conversation]) -> None:
    for chat in chats:
        turns = {turn.id: turn for turn in chat.turns}
        authors = {turn.author for turn in chat.turns}
        for question in chat.questions:
            named = [author for author in authors if f" {author} " in f" {question.text} "]
            if question.category in ("chat-what", "chat-opinion", "chat-when") and len(named) == 1:
                assert {turns[turn_id].author for turn_id in question.positives} == set(named)


def test_time_goes_forward_and_replies_point_back(chats: list[Conversation]) -> None:
    for chat in chats:
        places = {turn.id: place for place, turn in enumerate(chat.turns)}
        times = [turn.timestamp or "" for turn in chat.turns]
        assert times == sorted(times)
        assert all(places[t.reply_to] < places[t.id] for t in chat.turns if t.reply_to)


def test_hard_negatives_are_there(chats: list[Conversation]) -> None:
    categories = Counter(question.category for chat in chats for question in chat.questions)
    wanted = {"chat-what", "chat-when", "chat-who", "chat-fact", "chat-opinion", "chat-place", "chat-why", "chat-yes"}
    assert wanted <= set(categories)
    superseded = [q for chat in chats for q in chat.questions if q.category == "chat-fact" and q.ignored]
    assert superseded, "no fact was ever replaced"


def test_development_chats_tell_of_things_that_training_never_names(chats: list[Conversation]) -> None:
    development = list(generate_chats(40, "dev", seed=5))
    things = {str(thing) for entry in grammar()["events"] for thing in entry["things"] if len(str(thing)) > 8}
    said = [" ".join(turn.text for turn in chat.turns).lower() for chat in chats]
    told = [" ".join(turn.text for turn in chat.turns).lower() for chat in development]
    in_training = {thing for thing in things if any(thing.lower() in text for text in said)}
    in_development = {thing for thing in things if any(thing.lower() in text for text in told)}
    assert len(in_development) > 10
    assert not in_training & in_development


def test_questions_by_rule_ask_an_author_about_his_own_words() -> None:
    [chat] = generate_chats(1, "train", seed=9)
    made = question_conversation(chat, 8, random.Random(3))
    turns = {turn.id: turn for turn in made.turns}
    assert made.questions
    for question in made.questions:
        [evidence] = question.positives
        named = turns[evidence].author.lower() in question.text.lower()
        assert named or question.category in ("made-about", "made-who")


@pytest.mark.parametrize("text", ["I like ...", "We finally saw ''", "I have -- '. ... i went ..."])
def test_a_turn_of_hardly_any_word_breaks_no_rule(text: str) -> None:
    for seed in range(20):
        asked = ask_about([ChatTurn("1", "Nia", text)], 0, {}, random.Random(seed))
        assert asked is None or len(asked[0].split()) > 0
