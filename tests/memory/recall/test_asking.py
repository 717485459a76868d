"""What only asks is told from what tells, with and without question marks, in the main languages."""

from __future__ import annotations

import pytest

from cogs.memory.recall.asking import about_asking, asking_share, asks, only_asks


@pytest.mark.parametrize(
    "text",
    [
        "Is there a place to park near the harbour?",
        "Hi, I am new. How do I become a member?",
        "Does anyone have my torque wrench? The long one with the red grip",
        "who can help me with the stove",
        "wo wohnt Nadia",
        "Kennt jemand einen guten Zahnarzt",
        "¿Dónde vive Marta?",
        "你住在哪里？",
        "明天几点见面",
        "どこに住んでいますか",
        "어디 사세요",
        "Где ты живёшь",
        "أين المفتاح؟",
        "Bu akşam geliyor musun",
    ],
)
def test_a_message_that_only_asks(text: str) -> None:
    assert only_asks(text)
    assert asks(text)


@pytest.mark.parametrize(
    "text",
    [
        "It is C-41, east pontoon, second from the end",
        "I am allergic to shellfish, is there any in it?",
        "Does it have something vegetarian? I don't eat meat or fish",
        "Guess what? Anna moved to Ghent!",
        "When I came home it was late",
        "What a trip. Fog so thick that I could not see the bow",
        "Where I live is nice.",
        "Wie schön",
        "我住在里昂",
        "京都に住んでいます",
        "https://example.org/?q=where+is+it",
        "",
        "🎉",
    ],
)
def test_a_message_that_tells_something(text: str) -> None:
    assert not only_asks(text)


def test_a_long_text_takes_no_time_to_read() -> None:
    assert 0.0 <= asking_share("what is " * 4_000 + "?" * 4_000) <= 1.0


def test_a_query_about_somebodys_question_is_known() -> None:
    assert about_asking("who asked about the mooring?")
    assert about_asking("Wer hat nach dem Schlüssel gefragt")
    assert not about_asking("what is the mooring number")
