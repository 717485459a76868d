"""The shipped recipe reads its sources: joined, cut, asked across languages, and mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question, write_folder
from cogs.lab.training.joint.recipe import JointRecipe, Source, channels, load_joint_recipe
from cogs.memory.errors import BadRequest


def talk(name: str, language: str, turns: int = 6) -> Conversation:
    said = tuple(ChatTurn(f"{name}-{language}-{n}", f"p{n % 2}", f"{language} text {n}") for n in range(turns))
    asked = tuple(Question(f"{name}-q{n}", f"{language} asks {n}?", (said[n].id,)) for n in range(turns))
    return Conversation(f"{name}-{language}", said, asked)


def made(source: Source, sets: Path) -> list[Conversation]:
    recipe = JointRecipe(name="r", base="b", split=1, layers=1, rate=1, steps=1, max_length=64, sources=(source,))
    return [told.conversation for _, told in channels(recipe, sets, sets / "public")]


def test_the_shipped_recipe_states_a_licence_of_every_source() -> None:
    recipe = load_joint_recipe()
    assert len({source.name for source in recipe.sources}) == len(recipe.sources) >= 10
    assert all(source.license != "not stated" for source in recipe.sources)
    assert all("dev" not in folder for source in recipe.sources for folder in source.sets.values())


def test_folders_are_joined_cut_and_bounded(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", [talk(f"c{n}", "de") for n in range(5)])
    plain = Source(name="a", kind="folders", sets={"de": "a"}, askers=False)
    joined = plain.model_copy(update={"most": 4, "turns": 7})
    assert [len(one.turns) for one in made(joined, tmp_path)] == [12, 12]
    (cut,) = made(plain.model_copy(update={"most": 1, "cut": 3}), tmp_path)
    assert (len(cut.turns), len(cut.questions)) == (3, 3)
    assert len(made(plain, tmp_path)) == 5


def test_parallel_articles_are_shared_out_among_the_languages(tmp_path: Path) -> None:
    for language in ("de", "en"):
        write_folder(tmp_path / language, [talk(f"c{n}", language) for n in range(4)])
    source = Source(name="x", kind="parallel", sets={"de": "de", "en": "en"}, across=1.0, askers=False)
    found = made(source, tmp_path)
    assert [one.id for one in found] == ["c0-de", "c1-en", "c2-de", "c3-en"]
    assert all(q.text.startswith("en" if one.id.endswith("de") else "de") for one in found for q in one.questions)


def test_sentences_are_asked_for_in_another_language(tmp_path: Path) -> None:
    folder = tmp_path / "public" / "ntrex"
    folder.mkdir(parents=True)
    for language in ("deu", "jpn", "eng"):
        (folder / f"ref.{language}.txt").write_text("\n".join(f"{language} {n}" for n in range(40)))
    for one in made(Source(name="n", kind="sentences", count=3, seed=1), tmp_path):
        texts = {turn.id: turn.text.split() for turn in one.turns}
        for question in one.questions:
            language, number = question.text.split()
            assert texts[question.positives[0]][1] == number
            assert texts[question.positives[0]][0] != language


def test_a_malformed_recipe_says_where(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: x\nbase: y\nsplit: 1\nlayers: 1\nrate: 1\nsteps: 0\nmax_length: 64\n")
    with pytest.raises(BadRequest, match="malformed"):
        load_joint_recipe(tmp_path / "r.yaml")
    with pytest.raises(BadRequest, match="cannot be read"):
        load_joint_recipe(tmp_path / "none.yaml")
