"""The public sets as folders: deterministic, split by episode, and read by the evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot import app
from cogs.lab.datasets.loaders import load_dataset
from cogs.memory.errors import BadRequest


def scene(episode: str, number: int) -> dict[str, object]:
    utterances = [
        {"uid": 0, "speakers": ["Ann Lee"], "utterance": "I do n't want the green lamp ."},
        {"uid": 1, "speakers": ["Bo Kim"], "utterance": "Then I take it to the cellar ."},
    ]
    answer = {"utterance_id": 1, "answer_text": "the cellar"}
    asked = {"id": f"q{number}", "question": "Where does Bo take the lamp ?", "answers": [answer]}
    return {"title": f"{episode}_c{number:02}", "paragraphs": [{"utterances:": utterances, "qas": [asked]}]}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources" / "friendsqa"
    folder.mkdir(parents=True)
    for name, episodes in (("dev", ("s01_e01", "s01_e02")), ("test", ("s01_e03", "s01_e04"))):
        scenes = [scene(episode, number) for episode in episodes for number in range(2)]
        (folder / f"{name}.json").write_text(json.dumps({"data": scenes}), encoding="utf-8")
    return tmp_path / "sources"


def test_sets_are_written_as_the_evaluation_reads_them(sources: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["datasets", str(sources), str(tmp_path / "sets"), "--json"])
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    made = {"chat-dev", "chat-followup-dev", "multichat-dev"}
    assert set(counts) == {"friendsqa-train", "friendsqa-dev", "friendsqa-long-dev"} | made
    development = load_dataset(tmp_path / "sets" / "friendsqa-dev")
    assert [message.text for message in development.messages[:2]] == [
        "I don't want the green lamp.",
        "Then I take it to the cellar.",
    ]
    [query, *_] = development.judged()
    assert query.channel is not None
    assert list(development.qrels[query.id]) == [development.messages[1].id]
    long = load_dataset(tmp_path / "sets" / "friendsqa-long-dev")
    assert {query.channel for query in long.queries} == {"joined-3"}


def test_no_episode_is_on_both_sides(sources: Path, tmp_path: Path) -> None:
    CliRunner().invoke(app, ["datasets", str(sources), str(tmp_path / "sets")])
    sides = [
        {message.id.split("_c")[0] for message in load_dataset(tmp_path / "sets" / name).messages}
        for name in ("friendsqa-train", "friendsqa-dev")
    ]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_a_question_that_goes_on_says_nothing_without_the_turn_before(sources: Path, tmp_path: Path) -> None:
    CliRunner().invoke(app, ["datasets", str(sources), str(tmp_path / "sets")])
    plain, followed = (load_dataset(tmp_path / "sets" / name) for name in ("chat-dev", "chat-followup-dev"))
    names = {message.author for message in plain.messages}
    first = {query.id: query for query in plain.queries}
    assert len(followed.queries) > 300
    for query in followed.queries:
        assert {"they", "their", "they?"} & set(query.text.split())
        assert not any(name in query.text.split() for name in names)
        ((_, before),) = query.turns
        (name,) = {name for name in names if name in before.split()}
        assert name in first[query.id.removesuffix("-next")].text


def test_a_folder_without_any_source_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["datasets", str(tmp_path), str(tmp_path / "sets")])
    assert isinstance(result.exception, BadRequest)
    assert str(tmp_path) in str(result.exception)
