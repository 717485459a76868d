"""Chats in many languages from phrases: the newest statement answers, what was before is lesser, and some only ask."""

from __future__ import annotations

import json
from pathlib import Path

from cogs.lab.datasets.changed_slots import changed_slots
from cogs.lab.datasets.generate_phrases import GROUP_WIDE, HELD_OUT, VALUES, phrase_chats, phrases


def test_every_language_says_the_same_things() -> None:
    table = phrases()
    assert len(table) >= 10
    topics = list(table["en"]["topics"])
    for language, own in table.items():
        assert list(own["topics"]) == topics, language
        for entry in own["topics"].values():
            assert len(entry["values"]) == VALUES
            assert all("{v}" in text for kind in ("say", "change", "short") for text in entry[kind])
            assert all("{v}" not in text for kind in ("ask", "was", "you") for text in entry[kind])
        personal = [entry for topic, entry in own["topics"].items() if topic != GROUP_WIDE]
        assert all("{A}" in text for entry in personal for kind in ("ask", "was", "you") for text in entry[kind])


def test_the_newest_statement_answers_and_before_is_the_oldest() -> None:
    changed = 0
    for told in phrase_chats(2, "train"):
        places = {turn.id: place for place, turn in enumerate(told.conversation.turns)}
        for question in told.conversation.questions:
            for lesser in told.lesser.get(question.id, ()):
                older = places[lesser] < places[question.positives[0]]
                assert older != question.id.endswith("-was")
                changed += 1
    assert changed > 50


def test_nobody_answered_what_is_asked_of_no_statement() -> None:
    asked = [q for told in phrase_chats(3, "train") for q in told.conversation.questions if "-none-" in q.id]
    assert asked
    assert all(not question.positives for question in asked)


def test_held_out_topics_are_asked_in_development_alone() -> None:
    table = phrases()
    held = {text.split("{A}")[-1] for topic in HELD_OUT for text in table["de"]["topics"][topic]["ask"]}

    def asks(part: str) -> bool:
        chats = phrase_chats(4, "train") if part == "train" else phrase_chats(4, "dev")
        texts = [q.text for told in chats for q in told.conversation.questions]
        return any(text.endswith(tail) for text in texts for tail in held if len(tail) > 5)

    assert asks("dev")
    assert not asks("train")


def test_the_same_seed_writes_the_same_chats() -> None:
    assert list(phrase_chats(1, "dev", 5)) == list(phrase_chats(1, "dev", 5))
    assert list(phrase_chats(1, "dev", 5)) != list(phrase_chats(1, "dev", 6))


def test_a_changed_slot_has_its_older_values_below(tmp_path: Path) -> None:
    def turn(speaker: str, text: str, value: str | None = None) -> dict[str, object]:
        actions = [] if value is None else [{"act": "INFORM", "slot": "party_size", "values": [value]}]
        return {"speaker": speaker, "utterance": text, "frames": [{"actions": actions}]}

    turns = [turn("USER", "For two, please", "2"), turn("SYSTEM", "Two?"), turn("USER", "No, make it four", "4")]
    (tmp_path / "sgd").mkdir()
    rows = [{"dialogue_id": f"1_{number}", "turns": turns} for number in range(9)]
    (tmp_path / "sgd" / "dialogues_001.json").write_text(json.dumps(rows))
    told = [one for part in ("train", "dev") for one in changed_slots(tmp_path, "train" if part == "train" else "dev")]
    assert sum(len(one.conversation.questions) for one in told) == 9
    for one in told:
        texts = {turn.id: turn.text for turn in one.conversation.turns}
        for question in one.conversation.questions:
            assert [texts[key] for key in question.positives] == ["No, make it four"]
            assert [texts[key] for key in one.lesser[question.id]] == ["For two, please"]
            assert "party size" in question.text
