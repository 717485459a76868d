"""Calibration: probabilities come true as often as they say, and the first stage counts as much as it helps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cogs.lab.datasets.loaders import load_dataset
from cogs.lab.evaluation.metrics import calibration
from cogs.lab.training.calibrate import USUAL_WORDS, WEIGHTS, Asked, TemporaryModel, choose, elsewhere, write
from cogs.memory.errors import BadRequest
from cogs.memory.rerankers.registry import load_specs
from config.settings import PROJECT_DIR
from tests.lab.evaluation.test_evaluate import folder
from tests.memory.building import SHARED_MODELS

SHIPPED = PROJECT_DIR / "data" / "models" / "mneme-reranker-chat"


def questions(count: int, seed: int, weight: float = 1.0, boast: float = 3.0) -> list[Asked]:
    """Return questions whose truth is drawn from known odds: logits that boast, and a prior that knows something."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        odds = rng.normal(-3.0, 2.0, 40)
        priors = rng.normal(-3.0, 2.0, 40)
        hits = rng.random(40) < 1 / (1 + np.exp(-(odds + weight * (priors + 3.0))))
        order = np.argsort(-priors)
        rows.append(Asked(boast * odds[order], boast * priors[order], hits[order], max(1, int(hits.sum()))))
    return rows


def test_boasting_logits_become_honest_probabilities_on_questions_that_were_not_fitted() -> None:
    found = choose({"a": questions(200, 1), "b": questions(200, 2)})
    assert found.chosen.prior_weight == 1.0
    assert found.chosen.temperature == pytest.approx(3.0, rel=0.1)
    assert found.chosen.bias == pytest.approx(9.0, rel=0.15)
    unseen = questions(200, 3)
    said = np.concatenate([found.chosen.probability(row.logits, row.priors) for row in unseen])
    true = np.concatenate([row.hits for row in unseen])
    assert calibration(said.tolist(), true.tolist()).ece < 0.02
    assert (
        calibration((1 / (1 + np.exp(-np.concatenate([r.logits for r in unseen])))).tolist(), true.tolist()).ece > 0.05
    )


def choices(count: int, seed: int, size: int, answered: bool) -> list[Asked]:
    """Return questions with one answer among ``size`` candidates, or with none, whose scores boast threefold."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        hits = np.zeros(size, dtype=bool)
        hits[rng.integers(size)] = answered
        # The log-odds of two normal distributions of the same width are a straight line: 2.5 · (x - 1.25).
        odds = 2.5 * (rng.normal(0.0, 1.0, size) + 2.5 * hits - 1.25)
        order = rng.permutation(size)
        rows.append(Asked(3.0 * odds[order], np.zeros(size), hits[order], 1))
    return rows


def test_few_candidates_and_many_are_right_as_often_as_is_said() -> None:
    run = {"two": choices(300, 1, 2, True), "fifty": choices(300, 2, 50, True)}
    found = choose(run, 0.0)
    assert found.choice.scale == pytest.approx(1 / 3, rel=0.1)
    assert max(found.held_out_ece.values()) < 0.05
    assert 0 < found.held_out_ece_together <= max(found.held_out_ece.values())
    alone = np.concatenate([found.chosen.probability(row.logits, row.priors) for row in run["two"]])
    assert calibration(alone.tolist(), np.concatenate([row.hits for row in run["two"]]).tolist()).ece > 0.07


def test_where_nobody_answered_less_is_promised() -> None:
    run = {"five": choices(600, 1, 5, True)}
    found = choose(run, 0.0, {"five": choices(200, 2, 5, False)})
    assert 0.05 < found.unanswered["five"] < 0.6
    promised = np.mean([sum(found.choice.probabilities(row.logits.tolist())) for row in run["five"]])
    assert promised > found.unanswered["five"] + 0.25
    # As often as is said, over all that people ask: three questions in four have an answer.
    asked = [*choices(600, 3, 5, True), *choices(200, 4, 5, False)]
    said = [p for row in asked for p in found.choice.probabilities(row.logits.tolist())]
    assert calibration(said, np.concatenate([row.hits for row in asked]).tolist()).ece < 0.03


def test_asked_elsewhere_no_question_meets_its_answer(tmp_path: Path) -> None:
    dataset = load_dataset(folder(tmp_path))
    away = elsewhere(dataset)
    where = {message.id: message.channel for message in dataset.messages}
    assert len(away.queries) == 6  # all but the one of a channel that is not there
    for query in away.queries:
        assert all(where[message] != query.channel for message in dataset.qrels[query.id])


def test_a_prior_that_knows_nothing_gets_no_weight() -> None:
    found = choose({"a": questions(150, 4, weight=0.0), "b": questions(150, 5, weight=0.0)})
    assert found.chosen.prior_weight == 0.0
    assert set(found.gains) == set(WEIGHTS)
    assert found.held_out_gains["a"] == pytest.approx(found.gains[0.0]["a"])


def test_no_set_may_lose_more_than_a_point_for_the_good_of_the_others() -> None:
    helped = questions(150, 7, weight=0.0)
    # Here the reranker says the opposite of what is true, and only the prior knows.
    hurt = [Asked(-row.priors, row.priors, row.hits, row.relevant) for row in questions(150, 8, weight=1.0)]
    found = choose({"helped": helped, "hurt": hurt})
    assert found.gains[0.0]["helped"] > found.gains[found.chosen.prior_weight]["helped"] > 0
    assert found.gains[found.chosen.prior_weight]["hurt"] >= -0.01 > found.gains[0.0]["hurt"]


def test_a_set_without_an_answer_among_the_candidates_is_named() -> None:
    nothing = [Asked(np.zeros(3), np.zeros(3), np.zeros(3, dtype=bool), 1)]
    with pytest.raises(BadRequest, match="empty has no question"):
        choose({"empty": nothing})


def test_what_is_written_keeps_the_rest_of_the_file(tmp_path: Path) -> None:
    about = {"rendering": "chat", "max_length": 112, "temperature": 1.0, "bias": 0.0, "model_sha256": "abc"}
    (tmp_path / "mneme.json").write_text(json.dumps(about), encoding="utf-8")
    write(tmp_path, choose({"a": questions(100, 6)}, 0.5), 256)
    now = json.loads((tmp_path / "mneme.json").read_text(encoding="utf-8"))
    assert now["prior_weight"] == 0.5
    assert now["usual_words"] == USUAL_WORDS
    assert now["temperature"] > 1
    assert (now["max_length"], now["rendering"], now["model_sha256"]) == (256, "chat", "abc")


def test_a_model_of_two_graphs_keeps_the_checksums_of_both(tmp_path: Path) -> None:
    about = {"rendering": "chat", "max_length": 128, "lower_sha256": "a", "upper_sha256": "b", "words_sha256": "c"}
    (tmp_path / "mneme.json").write_text(json.dumps(about), encoding="utf-8")
    for name in ("lower.onnx", "upper.onnx"):
        (tmp_path / name).write_bytes(b"graph")
    with TemporaryModel(tmp_path, about | {"prior_weight": 0.0}) as table:
        (entry,) = load_specs(table).values()
        assert entry.format == "joint"
        assert sorted(file.name for file in Path(entry.id).iterdir() if file.is_symlink()) == [
            "lower.onnx",
            "upper.onnx",
        ]
    write(tmp_path, choose({"a": questions(100, 6)}, 0.5))
    now = json.loads((tmp_path / "mneme.json").read_text(encoding="utf-8"))
    assert {name: now[name] for name in about} == about
    assert now["choice"]["scale"] > 0


def test_the_command_asks_the_product_and_changes_a_copy_of_the_shipped_model(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(SHIPPED, model)
    command = [sys.executable, "bot.py", "calibrate", str(model), str(folder(tmp_path)), "--prior-weight", "0.25"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "MNEME_MODELS_DIR": str(SHARED_MODELS),
        "MNEME_DATA_DIR": str(tmp_path / "d"),
    }
    done = subprocess.run(
        [*command, "--json"], cwd=PROJECT_DIR, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    about = json.loads((model / "mneme.json").read_text(encoding="utf-8"))
    assert about["prior_weight"] == 0.25 == found["chosen"]["prior_weight"]
    assert about["choice"] == pytest.approx(found["choice"], abs=1e-4)
    assert about["temperature"] == pytest.approx(found["chosen"]["temperature"], abs=1e-4)
    shipped = json.loads((SHIPPED / "mneme.json").read_text(encoding="utf-8"))
    assert about["model_sha256"] == shipped["model_sha256"]
