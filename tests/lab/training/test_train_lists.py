"""What a training list holds: evidence first, wrong turns of the same channel, and of a long turn its best passage."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question
from cogs.lab.search.first_stage import Embedder
from cogs.lab.training.examples import conversations_of
from cogs.lab.training.lists import mine
from cogs.lab.training.recipe import DataEntry

FILLER = "then we went through the minutes of the last meeting and nobody had anything to add to them at all"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def test_of_a_long_turn_the_passage_that_answers_is_what_the_list_teaches(embedder: Embedder) -> None:
    answer = "The remote control will be made of yellow rubber, said the designer."
    long = " ".join([FILLER] * 9 + [answer] + [FILLER] * 7)
    turns = (ChatTurn("a", "Nia", long), *(ChatTurn(f"w{number}", "Bo", f"{FILLER} {number}") for number in range(9)))
    question = Question("q", "What is the remote control made of?", ("a",))
    [found] = mine(Conversation("m", turns, (question,)), embedder, random.Random(0), source="test")
    assert "yellow rubber" in found.documents[0]
    assert len(found.documents[0].split()) < 80
    assert not any("yellow rubber" in wrong for wrong in found.documents[1:])


def test_joined_scenes_give_wrong_turns_from_the_whole_channel(tmp_path: Path, embedder: Embedder) -> None:
    def scene(number: int) -> dict[str, object]:
        rows = [
            {"uid": 0, "speakers": ["Ann Lee"], "utterance": f"I want lamp number {number} ."},
            {"uid": 1, "speakers": ["Bo Kim"], "utterance": f"Lamp {number} goes to cellar {number} ."},
        ]
        asked = {
            "id": f"q{number}",
            "question": f"Where does lamp {number} go ?",
            "answers": [{"utterance_id": 1, "answer_text": "cellar"}],
        }
        return {"title": f"s01_e{number:02}_c01", "paragraphs": [{"utterances:": rows, "qas": [asked]}]}

    folder = tmp_path / "friendsqa"
    folder.mkdir()
    (folder / "dev.json").write_text(json.dumps({"data": [scene(number) for number in range(12)]}), encoding="utf-8")
    (folder / "test.json").write_text(json.dumps({"data": []}), encoding="utf-8")
    entry = DataEntry(kind="sources", path=tmp_path, names=("friendsqa",))
    apart = list(conversations_of(entry))
    together = list(conversations_of(entry.model_copy(update={"joined": 100})))
    assert (len(apart), len(together)) == (9, 1)  # every fourth episode is kept for development
    assert [q.id for c in apart for q in c.questions] == [q.id for c in together for q in c.questions]

    def widest(conversations: list[Conversation]) -> int:
        rows = [row for c in conversations for row in mine(c, embedder, random.Random(0), source="test")]
        assert rows
        return max(len(row.documents) for row in rows)

    assert widest(apart) == 2  # the answer and the one other line of its scene
    assert widest(together) == 8
