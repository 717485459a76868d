"""Sets in other languages: the evidence is the sentence with the answer, and what is held out is never trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from cogs.lab.datasets.conversations import Conversation
from cogs.lab.datasets.multilingual import (
    HELD_OUT_PERSONAS,
    HELD_OUT_QUESTIONS,
    PERSONA_FILES,
    cmrc2018,
    kdconv,
    multilingual_sets,
    sentences,
    xpersona,
    xquad,
)

PARTS: Final[tuple[Literal["train", "dev"], ...]] = ("train", "dev")


def said(conversation: Conversation, question: int = 0) -> list[str]:
    texts = {turn.id: turn.text for turn in conversation.turns}
    return [texts[key] for key in conversation.questions[question].positives]


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


@pytest.mark.parametrize(
    "expected",
    [
        ["It costs 3.5 euros at example.org.", " Nobody paid for it."],
        ["彼は東京に住んでいる人です。", "「本当に来るのですか。」と彼女は言いました。"],
        ["No. That was a longer sentence here."],
        [],
    ],
)
def test_a_text_is_told_sentence_by_sentence(expected: list[str]) -> None:
    text = "".join(expected)
    assert [part for _, part in sentences(text)] == [part.strip() for part in expected]
    assert all(text[place:].startswith(part) for place, part in sentences(text))


def test_the_sentence_that_holds_the_answer_is_the_evidence_and_articles_are_split_alike(tmp_path: Path) -> None:
    context = "Anna moved to Ghent in March. Bob stayed in Lyon for the winter."
    answer = {"text": "Lyon", "answer_start": context.index("Lyon")}
    paragraph = {"context": context, "qas": [{"id": "q", "question": "Where did Bob stay?", "answers": [answer]}]}
    for language in ("en", "de"):
        put(tmp_path / "xquad" / f"xquad.{language}.json", {"data": [{"paragraphs": [paragraph]} for _ in range(30)]})
    parts = {
        (language, part): [c.id.rsplit("-", 1)[1] for c in xquad(tmp_path, part, language)]
        for language in ("en", "de")
        for part in PARTS
    }
    assert parts["en", "train"] == parts["de", "train"]
    assert not set(parts["en", "train"]) & set(parts["de", "dev"])
    assert said(next(xquad(tmp_path, "train", "en"))) == ["Bob stayed in Lyon for the winter."]


def test_of_sentences_with_the_answer_the_one_like_the_question_is_the_evidence(tmp_path: Path) -> None:
    text = "光荣是一家日本的游戏公司。战国无双是由光荣开发的游戏。"
    row = {"context_text": text, "qas": [{"query_id": "q", "query_text": "战国无双由谁开发？", "answers": ["光荣"]}]}
    put(tmp_path / "cmrc2018" / "cmrc2018_dev.json", [{"context_id": f"c{i}", **row} for i in range(20)])
    assert said(next(cmrc2018(tmp_path, "train"))) == ["战国无双是由光荣开发的游戏。"]


def test_a_turn_that_states_an_attribute_answers_the_question_for_it(tmp_path: Path) -> None:
    states = {"message": "导演是尼克。", "attrs": [{"attrname": "导演", "attrvalue": "尼克", "name": "恋恋（电影）"}]}
    dialogue = {"messages": [{"message": "谁导演的？"}, states, {"message": "好看"}]}
    for name in ("film_dev", "film_test", "music_dev", "music_test"):
        put(tmp_path / "kdconv" / f"{name}.json", [dialogue] * 12)
    first = next(kdconv(tmp_path, "train"))
    assert said(first) == ["导演是尼克。"]
    assert {"恋恋", "导演"} <= {part for part in ("恋恋", "导演", "电影") if part in first.questions[0].text}
    assert "电影" not in first.questions[0].text
    assert len({turn.author for turn in first.turns}) == 2


def test_a_persona_is_shown_by_the_turn_of_its_own_speaker_that_shares_its_rarer_words(tmp_path: Path) -> None:
    dialogue = [["__SILENCE__", "hi there , how are you"], ["i have two dogs too", "i walk my two dogs daily"]]
    filler = {"persona": ["x"], "dialogue": [[f"filler line {i} of talk", f"answer {i} to it"] for i in range(600)]}
    row = {"persona": ["i own dogs.", "i like trains."], "dialogue": dialogue}
    put(tmp_path / "xpersona" / PERSONA_FILES["fr"], [*[row] * 8, filler])
    found = next(c for c in xpersona(tmp_path, "train", "fr") if c.questions)
    assert said(found) == ["i walk my two dogs daily"]
    assert len(found.questions) == 1
    assert not any("__SILENCE__" in turn.text for turn in found.turns)


def test_held_out_languages_are_for_development_alone(tmp_path: Path) -> None:
    (tmp_path / "xquad").mkdir()
    (tmp_path / "xpersona").mkdir()
    held = {f"xquad-{name}" for name in HELD_OUT_QUESTIONS} | {f"xpersona-{name}" for name in HELD_OUT_PERSONAS}
    train = {name for name, _ in multilingual_sets(tmp_path, "train")}
    assert not held & train
    assert {name for name, _ in multilingual_sets(tmp_path, "dev")} - train == held
