"""What Prometheus reads, and that the dashboard and the alerts name only metrics that exist."""

from __future__ import annotations

import json
import re

import yaml
from prometheus_client.parser import text_string_to_metric_families

from cogs.memory.recall.latency import Latency
from cogs.web.metrics import Reading, exposition
from config.settings import PROJECT_DIR

DEPLOY = PROJECT_DIR / "deploy"


def reading() -> Reading:
    latency = Latency()
    for seconds in (0.004, 0.2, 0.2, 40.0):
        latency.add({"recall": seconds})
    latency.degraded["reranker: deadline"] += 2
    return Reading(
        ready=True,
        messages=1200,
        queue=3,
        vectors=1197,
        index_bytes=10,
        database_bytes=20,
        process_bytes=30,
        profile="cpu",
        embedder="e",
        reranker="r",
        uptime=5.5,
        stages=latency.histograms(),
        degraded=latency.degraded,
        gateway_seconds=0.05,
        reconnects=1,
        feed_lag_seconds=0.1,
    )


def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = exposition(reading)().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_histograms_are_cumulative_and_end_with_all() -> None:
    found = samples()

    def bucket(bound: str) -> float:
        return found["mneme_stage_seconds_bucket", frozenset({("stage", "recall"), ("le", bound)})]

    assert (bucket("0.005"), bucket("0.1"), bucket("0.25"), bucket("10.0"), bucket("+Inf")) == (1, 1, 3, 3, 4)
    assert found["mneme_stage_seconds_count", frozenset({("stage", "recall")})] == 4
    assert found["mneme_stage_seconds_sum", frozenset({("stage", "recall")})] == 40.404
    assert found["mneme_degraded_answers_total", frozenset({("reason", "reranker: deadline")})] == 2
    assert found["mneme_queue_messages", frozenset()] == 3


def test_nothing_is_written_before_there_is_a_reading() -> None:
    assert exposition(lambda: None)() == b""


def test_the_dashboard_and_the_alerts_name_only_what_exists() -> None:
    known = {name for name, _ in samples()} | {"up"}
    dashboard = json.loads((DEPLOY / "grafana/dashboards/mneme.json").read_text())
    questions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    alerts = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
    questions += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    named = {name for question in questions for name in re.findall(r"\b(?:mneme_\w+|up)\b", question)}
    assert len(questions) > 15
    assert named - known == set()
