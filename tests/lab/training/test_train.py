"""Training: every recipe lowers its loss, a killed run goes on where it was, and consent comes before data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from cogs.lab.training.examples import LabelledList, conversations_of, split_by_query
from cogs.lab.training.losses import binned, bradley_terry, ranking_loss, soft_labels
from cogs.lab.training.recipe import DataEntry, Labels, load_recipe, recipe_names
from cogs.lab.training.run import run_recipe
from cogs.lab.training.teachers import EndpointTeacher, relabelled
from cogs.memory.errors import BadRequest
from config.settings import PROJECT_DIR
from tests.lab.tiny import learnable_lists, shrunk, tiny_base

PUBLISHED = ("hindsight", "lychee", "lycheemem", "memreranker", "prism", "querit")


def test_the_published_recipes_come_with_the_program() -> None:
    assert {*PUBLISHED, "mneme-reranker-chat", "mneme-reranker-chat-2"} <= set(recipe_names())


def test_the_recipes_hold_what_their_publications_state() -> None:
    lycheemem, hindsight = load_recipe("lycheemem"), load_recipe("hindsight")
    assert lycheemem.lora is not None
    assert (lycheemem.lora.r, lycheemem.labels.levels, lycheemem.validation) == (16, 6, 0.1)
    assert (lycheemem.phases[0].loss, lycheemem.phases[0].epochs) == ("bce", 3)
    phase = hindsight.phases[0]
    assert (phase.loss, phase.margin, phase.epochs, phase.batch, phase.learning_rate) == ("margin", 1.0, 10, 8, 6e-6)
    assert [phase.loss for phase in load_recipe("memreranker").phases] == ["bce", "infonce"]
    assert load_recipe("querit").labels.levels == 16


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_lowers_its_held_out_loss_and_leaves_model_curve_and_card(name: str, tmp_path: Path) -> None:
    recipe = shrunk(load_recipe(name), tmp_path)
    output = tmp_path / "run"
    report = run_recipe(recipe, output)
    trained = [row for row in report.phases.values() if "held-out loss before" in row]
    # Soft labels have an entropy that no model can go below, so the fall is absolute.
    assert trained[0]["held-out loss after"] < trained[0]["held-out loss before"] - 0.01, report.phases
    assert (output / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((output / "final").glob("*.safetensors"))
    card = (output / "README.md").read_text(encoding="utf-8")
    for stated in (recipe.name, f"seed {recipe.seed}", "held out", "licence: not stated", *report.phases):
        assert stated in card
    if recipe.lora is not None:
        assert (output / "final" / "adapter_config.json").is_file()
    if name == "lycheemem":
        saved = load_file(output / "final" / "adapter_model.safetensors")
        assert any("score" in key for key in saved), "without its head the adapter cannot be loaded as a classifier"
    if name == "hindsight":
        settings = json.loads((output / "onnx" / "mneme.json").read_text(encoding="utf-8"))
        assert settings["score"] == "logit"
        assert (output / "onnx" / "model.onnx").stat().st_size > 10_000


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    lists, base = learnable_lists(tmp_path / "lists.jsonl"), tiny_base("pair", tmp_path / "base")
    recipe = {
        "name": "killed",
        "description": "A run that is killed.",
        "base": str(base),
        "family": "pair",
        "data": [{"kind": "lists", "path": str(lists)}],
        "phases": [{"name": "train", "loss": "infonce", "epochs": 20, "batch": 4, "learning_rate": 0.001}],
        "save_steps": 20,
        "bf16": False,
    }
    path = tmp_path / "killed.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    killed = tmp_path / "killed"
    child = subprocess.Popen(
        [sys.executable, "bot.py", "train", str(path), "--output", str(killed)],
        cwd=PROJECT_DIR,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    while not (killed / "train" / "checkpoint-20" / "trainer_state.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (killed / "final").exists()

    resumed = run_recipe(load_recipe(str(path)), killed)
    undisturbed = run_recipe(load_recipe(str(path)), tmp_path / "undisturbed")
    assert resumed.phases["train"]["steps"] == undisturbed.phases["train"]["steps"]
    a, b = (load_file(folder / "final" / "model.safetensors") for folder in (killed, tmp_path / "undisturbed"))
    assert max(float((a[name] - b[name]).abs().max()) for name in b) < 1e-5


@pytest.mark.parametrize("consent", [None, "", "   "])
def test_an_export_without_its_owners_word_is_not_read(consent: str | None, tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text("this would not even parse", encoding="utf-8")
    with pytest.raises(BadRequest, match="owner says so"):
        list(conversations_of(DataEntry(kind="export", path=path, consent=consent)))


def test_people_who_opted_out_leave_no_word_and_no_mention(tmp_path: Path) -> None:
    def message(number: int, author: int, text: str) -> dict[str, object]:
        return {
            "id": str(number),
            "type": "Default",
            "timestamp": "2024-05-03T10:00:00+00:00",
            "content": text,
            "author": {"id": str(author), "name": f"user{author}", "nickname": f"Person{author}", "isBot": False},
            "attachments": [],
            "embeds": [],
            "mentions": [],
        }

    export = {
        "guild": {"id": "1", "name": "Club"},
        "channel": {"id": "2", "type": "GuildTextChat", "name": "general"},
        "messages": [
            message(10, 7, "I bought a telescope yesterday for the garden"),
            message(11, 8, "I moved to a secret address in Ghent last week"),
            message(12, 7, "thanks <@8> that was a very kind thing to do"),
            message(13, 9, "I finished the marathon with my sister on Sunday"),
        ],
    }
    path = tmp_path / "export.json"
    path.write_text(json.dumps(export), encoding="utf-8")
    entry = DataEntry(kind="export", path=path, consent="I own Club and allow it. N.", opted_out=(8,), per_hundred=100)
    [conversation] = conversations_of(entry)
    assert [turn.id for turn in conversation.turns] == ["10", "13"]
    assert "Ghent" not in repr(conversation)


def test_no_query_is_on_both_sides_of_the_split() -> None:
    rows = [LabelledList(f"q{number % 10}", ("a", "b"), (1.0, 0.0), (0.5, 0.5)) for number in range(100)]
    training, held_out = split_by_query(rows, 0.1, seed=1)
    assert len(held_out) == 10
    assert not {row.query for row in training} & {row.query for row in held_out}


def test_bradley_terry_orders_by_strength_even_where_one_never_lost() -> None:
    wins = np.array([[0, 3, 4, 4], [1, 0, 3, 4], [0, 1, 0, 3], [0, 0, 1, 0]], dtype=np.float64)
    strengths = bradley_terry(wins)
    assert np.isfinite(strengths).all()
    assert list(np.argsort(-strengths)) == [0, 1, 2, 3]
    labels = soft_labels(strengths, 5)
    assert labels[0] == 1.0
    assert labels[-1] == 0.0
    assert set(labels) <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_bins_are_even_and_hold_both_ends() -> None:
    assert binned([0.0, 0.09, 0.11, 1.0, 7.0, -1.0], 6) == (0.0, 0.0, 0.2, 1.0, 1.0, 0.0)


def test_the_gap_margin_asks_more_of_a_wider_gap() -> None:
    real = torch.ones(1, 2, dtype=torch.bool)
    logits = torch.tensor([[1.0, 0.0]])
    small = ranking_loss("gap-margin", logits, torch.tensor([[0.6, 0.4]]), real, margin=4.0)
    wide = ranking_loss("gap-margin", logits, torch.tensor([[1.0, 0.0]]), real, margin=4.0)
    assert float(small) == pytest.approx(0.0)
    assert float(wide) == pytest.approx(3.0)


def test_padding_changes_no_loss() -> None:
    logits, labels = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 0.0]])
    wide = torch.tensor([[2.0, -1.0, 9.0]]), torch.tensor([[1.0, 0.0, 1.0]])
    for name in ("bce", "margin", "gap-margin", "infonce", "prism"):
        short = ranking_loss(name, logits, labels, torch.tensor([[True, True]]))
        assert float(ranking_loss(name, *wide, torch.tensor([[True, True, False]]))) == pytest.approx(float(short))


def test_an_endpoint_teacher_is_asked_in_both_orders_and_a_biased_one_decides_nothing() -> None:
    asked: list[str] = []

    def always_a(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["messages"][1]["content"])
        return httpx.Response(200, json={"choices": [{"message": {"content": "A"}}]})

    client = httpx.Client(transport=httpx.MockTransport(always_a))
    teacher = EndpointTeacher("http://teacher/v1", "judge", None, client)
    assert teacher.compare("q", "first", "second") == 0.5
    assert "A: <<<first>>>" in asked[0]
    assert "A: <<<second>>>" in asked[1]


def test_a_teacher_that_talks_instead_of_scoring_ends_in_one_sentence() -> None:
    def chatty(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"choices": [{"message": {"content": "Certainly!"}}]})

    teacher = EndpointTeacher("http://teacher/v1", "judge", None, httpx.Client(transport=httpx.MockTransport(chatty)))
    row = LabelledList("q", ("a", "b"), (1.0, 0.0), (0.5, 0.5))
    with pytest.raises(BadRequest, match="asked for a number"):
        list(relabelled([row], Labels(source="scores", teacher="openai"), teacher, seed=0))


def test_the_evidence_keeps_its_floor_whatever_a_teacher_says() -> None:
    def zero(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"choices": [{"message": {"content": "0"}}]})

    teacher = EndpointTeacher("http://teacher/v1", "judge", None, httpx.Client(transport=httpx.MockTransport(zero)))
    row = LabelledList("q", ("a", "b"), (1.0, 0.0), (0.5, 0.5))
    [found] = relabelled([row], Labels(source="scores", teacher="openai", floor=0.6), teacher, seed=0)
    assert found.labels == (0.6, 0.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"phases": []}, "phases"),
        ({"base": 3}, "base"),
        ({"surprise": True}, "surprise"),
        ({"phases": [{"name": "b", "start": "a"}]}, "needs a before it"),
    ],
)
def test_a_malformed_recipe_is_refused_with_its_place(change: dict[str, object], sentence: str, tmp_path: Path) -> None:
    good = yaml.safe_load((PROJECT_DIR / "cogs/lab/training/recipes/hindsight.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({**good, **change}), encoding="utf-8")
    with pytest.raises(BadRequest, match=sentence):
        load_recipe(str(path))


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadRequest, match="lycheemem"):
        load_recipe("no-such-recipe")
