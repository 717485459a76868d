"""The evaluation of the product: what a judge would notice on a set that nobody here has seen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cogs.lab.datasets.beir import load_beir
from cogs.lab.evaluation import report
from cogs.lab.evaluation.run import STAGES, Options, evaluate
from cogs.memory.errors import MnemeError
from tests.lab.datasets.test_datasets import write
from tests.memory.building import settings_in

TALK = [
    ("m1", "garden", "Ina", "I planted leeks behind the shed today.", "2024-03-01T09:00:00Z"),
    ("m2", "garden", "Udo", "Nice! The slugs ate all of mine.", "2024-03-01T09:01:00Z"),
    ("m3", "garden", "Ina", "Next week I am off to Lisbon with my sister.", "2024-03-05T18:00:00Z"),
    ("m4", "garden", "Udo", "My bicycle was stolen at the station.", "2024-04-02T08:00:00Z"),
    ("m5", "garden", "Ina", "Oh no, did you call the police?", "2024-04-02T08:02:00Z"),
    ("s1", "secret", "Udo", "I planted leeks as a surprise for Ina.", "2024-03-02T09:00:00Z"),
]
ASKED = [
    ("q1", "What did Ina plant behind the shed?", "garden", "single"),
    ("q2", "What was stolen from Udo?", "garden", "single"),
    ("q3", "Where is Ina travelling?", "garden", "trip"),
    ("q4", "Who planted leeks as a surprise?", "secret", "single"),
]
QRELS = "query-id\tcorpus-id\tscore\nq1\tm1\t1\nq2\tm4\t1\nq3\tm3\t1\nq4\ts1\t1\n"
METRICS = {"MAP", "NDCG@10", "R@50", "hit@10", "MRR@10", "accuracy@1", "seconds_per_query"}


def folder(path: Path) -> Path:
    """Write the small data set."""
    corpus = [
        {"_id": i, "text": text, "metadata": {"author": author, "channel": channel, "timestamp": time}}
        for i, channel, author, text, time in TALK
    ]
    queries: list[Any] = [
        {"_id": i, "text": text, "metadata": {"channel": channel, "category": category}}
        for i, text, channel, category in ASKED
    ]
    queries += [{"_id": "long", "text": "leeks " * 400, "metadata": {"channel": "garden"}}]
    queries += [{"_id": "empty", "text": "  ", "metadata": {"channel": "garden"}}]
    queries += [{"_id": "nowhere", "text": "leeks?", "metadata": {"channel": "cellar"}}]
    return write(path / "talk", corpus, queries, QRELS + "empty\tm1\t1\nnowhere\tm1\t1\nlong\tm1\t1\n")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> report.Measured:
    """The data set, measured once with a reranker."""
    path = tmp_path_factory.mktemp("evaluate")
    settings = settings_in(path / "data", profile=None, log_level="error")
    options = Options("minimal", "late-interaction")
    run = asyncio.run(evaluate(settings, load_beir(folder(path)), options))
    assert not (path / "data" / "mneme.db").exists(), "the person's own memory is not touched"
    return report.Measured.of(run)


def test_every_stage_is_measured_and_the_json_is_as_specified(measured: report.Measured) -> None:
    found = json.loads(json.dumps(report.headline(measured)))
    assert list(found) == list(STAGES) == ["keyword", "semantic", "fused", "reranked"]
    assert all(metrics.keys() == METRICS for metrics in found.values())
    assert all(
        0 <= value <= 1 for metrics in found.values() for name, value in metrics.items() if "seconds" not in name
    )
    assert 0 < found["fused"]["seconds_per_query"] <= found["reranked"]["seconds_per_query"]
    assert measured.run.reranker == "late-interaction"
    assert measured.run.degraded == 0


def test_the_right_messages_are_found_and_only_in_the_scope_of_the_query(measured: report.Measured) -> None:
    ranked = measured.run.rankings["reranked"]
    assert ranked["q1"][0] == "m1"
    assert ranked["q2"][0] == "m4"
    assert ranked["q4"] == ["s1"], "the other channel is out of scope"
    assert all("s1" not in ranked[query] for query in ("q1", "q2", "q3", "long"))
    assert len(set(ranked["q1"])) == len(ranked["q1"])


def test_queries_that_can_find_nothing_count_as_zero_and_stop_nothing(measured: report.Measured) -> None:
    ranked = measured.run.rankings["fused"]
    assert ranked["empty"] == ranked["nowhere"] == []
    assert ranked["long"][0] == "m1"
    assert measured.values["fused"]["empty"]["MAP"] == 0
    assert len(measured.values["fused"]) == 7


def test_the_report_names_what_was_measured(measured: report.Measured) -> None:
    text = report.markdown(measured)
    means = {stage: report.headline(measured)[stage]["MAP"] for stage in ("fused", "reranked")}
    assert f"Reranking changes MAP by {means['reranked'] - means['fused']:+.3f} (95 %" in text
    assert "| reranked |" in text
    assert "| trip | 1 |" in text
    assert "nowhere: cellar" in text
    assert report.as_text(report.stage_table(measured)).count("\n") == 4
    everything = report.full(measured)
    assert everything["stages"]["reranked"]["per_query"]["q1"]["MAP"] == 1
    stated = everything["calibration"]
    assert 0 <= stated["ece"] <= 1
    assert 0 < stated["ece_by_chance"] <= stated["ece_by_chance_95"]
    assert f"(perfectly calibrated probabilities would show {stated['ece_by_chance']:.3f} by chance" in text
    twice = report.calibrated([measured, measured])
    assert twice is not None
    assert f"over {2 * len(measured.run.probabilities):,} scored messages: ECE {stated['ece']:.3f}" in twice
    span = everything["stages"]["fused"]["metrics"]["MAP"]
    assert span["low"] <= span["mean"] <= span["high"]


def test_a_run_is_compared_with_an_earlier_one(measured: report.Measured, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"runs": [report.full(measured)]}), encoding="utf-8")
    found = report.comparisons(measured, report.earlier_values(file))
    assert found["MAP"].difference.mean == 0
    assert found["MAP"].p_value == 1
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(MnemeError, match=r"run\.json"):
        report.earlier_values(file)


async def test_a_reranker_that_is_not_here_is_an_error_and_not_a_fused_order(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "data")
    for name in ("qwen3-reranker-8b", "no-such-reranker"):
        with pytest.raises(MnemeError, match=name):
            await evaluate(settings, load_beir(folder(tmp_path)), Options("minimal", name))


async def test_nothing_to_measure_is_said(tmp_path: Path) -> None:
    path = folder(tmp_path)
    (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tm1\t0\n", encoding="utf-8")
    with pytest.raises(MnemeError, match="nothing to measure"):
        await evaluate(settings_in(tmp_path / "data"), load_beir(path), Options("minimal"))


async def test_fewer_hits_asked_for_leave_the_stages_whole(tmp_path: Path, measured: report.Measured) -> None:
    settings = settings_in(tmp_path / "data", profile=None, log_level="error")
    run = await evaluate(settings, load_beir(folder(tmp_path)), Options("minimal", "late-interaction", top=2))
    assert run.rankings == measured.run.rankings
    assert max(len(scored.candidates) for scored in run.scored) == 2
