"""The benchmarks run, print the promised JSON, and find Mneme's paths exact; never how long anything took."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bot import app
from cogs.bench import chatter, rerank, rerank_paths, vectors
from cogs.bench.measure import BenchError, PathFigures, PathPlan, interleave, peak_memory
from cogs.bench.report import Bench, Series, Target
from cogs.memory.errors import BadRequest

FIGURES = {"seconds", "ratio", "max_difference", "peak_rss_mb"}


def bench(name: str, *arguments: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Run ``bot.py bench NAME --quick --json``; return the paths and all of the benchmark's object."""
    result = CliRunner().invoke(app, ["bench", name, "--quick", "--json", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert set(document) == {name}
    paths = document[name]["paths"]
    for figures in paths.values():
        assert set(figures) >= FIGURES
        assert figures["seconds"] > 0
        assert figures["ratio"] > 0
    return paths, document[name]


def test_rerank_is_exact_in_float32_and_near_in_less() -> None:
    families = [part for family in ("qwen3", "lycheemem", "minilm-l6") for part in ("--family", family)]
    paths, whole = bench("rerank", "--tiny", "--candidates", "6", "--no-memory", *families)
    assert set(paths) == {plan.name for plan in rerank_paths.PLANS if not plan.name.startswith("minilm-l12")}
    for name in ("qwen3: mneme float32", "lycheemem: mneme float32", "minilm-l6: mneme onnx float32"):
        assert paths[name]["max_difference"] <= 1e-4
        assert paths[name]["order_agreement"] == 1.0
    for name, figures in paths.items():
        assert figures["max_difference"] <= 0.05, name
    assert paths["qwen3: published bfloat16"]["ratio"] == 1.0
    assert any("Random weights" in note for note in whole["notes"])


def test_the_peer_reads_the_same_prompt_as_the_card(tmp_path: Path) -> None:
    config = {**rerank.settings(layers=2, candidates=4, words=8, threads=1, size="tiny", published_batch=2)}
    config["folder"] = str(tmp_path)
    rerank.write_checkpoints(config, ["qwen3"])
    # CrossEncoder loads in the precision of its name; in float32 nothing but the prompt could make a difference.
    peer = rerank.build("qwen3: CrossEncoder float32", config)()
    card = rerank.build(rerank_paths.PUBLISHED_32, config)()
    assert np.abs(peer - card).max() <= 1e-5
    assert np.ptp(card) > 1e-4


def test_embed_keeps_the_vectors() -> None:
    paths, _ = bench("embed", "--messages", "20", "--no-memory")
    assert set(paths) == {"SentenceTransformer.encode", "mneme openvino", "mneme-embedder"}
    for name in ("SentenceTransformer.encode", "mneme openvino"):
        assert paths[name]["max_difference"] <= 1e-3


def test_search_finds_what_exact_search_finds() -> None:
    paths, whole = bench("search", "--messages", "600", "--no-memory")
    for scope in ("1 channel", "1 %", "all"):
        sixteen, eight = paths[f"{scope}: mneme flat-fp16"], paths[f"{scope}: mneme flat-int8"]
        assert sixteen["max_difference"] <= 1e-3
        assert sixteen["recall_at_50"] >= 0.99
        assert eight["max_difference"] <= 0.02
        assert eight["recall_at_50"] >= 0.9
        assert f"{scope}: keywords" in paths
    assert paths["start: rebuild from the database"]["ratio"] == 1.0
    assert "start: snapshot" in paths
    assert whole["scope_rows"]["1 %"] < whole["scope_rows"]["1 channel"] < whole["scope_rows"]["all"] == 600


def test_import_tells_where_the_time_goes() -> None:
    paths, whole = bench("import", "--messages", "60", "--no-memory")
    assert set(paths) == {"mneme: remember and drain", "SentenceTransformer.encode alone"}
    stages = whole["stages"]
    assert set(stages) == {"commit", "keywords", "read the queue", "embed", "store vectors", "index"}
    assert math.isclose(sum(stage["share"] for stage in stages.values()), 1.0, abs_tol=0.01)
    assert all(stage["seconds"] > 0 for stage in stages.values())


def test_soak_loses_nothing() -> None:
    paths, whole = bench("soak", "--direct", "--seconds", "2", "--rate", "30", "--recalls", "3")
    assert set(paths) == {"mneme: recall", "mneme: remember"}
    assert whole["sent"] == whole["stored"] == whole["indexed"] == 60
    assert whole["lost"] == 0
    assert paths["mneme: recall"]["calls"] == 6
    assert whole["rss_mb"]


def test_soak_through_discord_loses_nothing() -> None:
    paths, whole = bench("soak", "--seconds", "3", "--rate", "40", "--recalls", "3")
    assert whole["sent"] == whole["stored"] == 120
    assert whole["agrees"]
    assert whole["lost"] == whole["unanswered_recalls"] == 0
    assert paths["discord: recall"]["calls"] == 9
    assert whole["longest_heartbeat_silence_seconds"] > 0


def test_memory_is_of_the_path_alone(tmp_path: Path) -> None:
    config = {"messages": 20_000, "dim": 384, "folder": str(tmp_path), "threads": 1}
    small = peak_memory("cogs.bench.search", "1 %: mneme flat-int8", config)
    large = peak_memory("cogs.bench.search", "1 %: numpy float32", config)
    assert small.imports < small.rss < large.rss


def test_a_path_that_fails_is_named() -> None:
    with pytest.raises(BenchError, match="all: nonsense"):
        peak_memory("cogs.bench.search", "all: nonsense", {"messages": 100, "dim": 8, "folder": "/", "threads": 1})


def test_an_unknown_device_is_refused_and_so_is_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for device, sentence in (("tpu", "takes cpu or cuda"), ("cuda", "no NVIDIA GPU here")):
        result = CliRunner().invoke(app, ["bench", "rerank", "--device", device])
        assert isinstance(result.exception, BadRequest | BenchError)
        assert sentence in str(result.exception)


def test_an_unknown_family_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "rerank", "--family", "gpt"])
    assert isinstance(result.exception, BadRequest)


def test_paths_take_turns() -> None:
    order: list[str] = []
    timings = interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["b", "a", "a", "b", "b", "a", "a", "b"]
    assert [len(times) for times in timings.seconds.values()] == [3, 3]
    assert timings.figures(PathPlan("a", "a")).ratio == 1.0


def test_agreement_counts_pairs() -> None:
    right = np.array([0.1, 0.2, 0.3])
    assert rerank.agreement(right * 2, right) == 1.0
    assert rerank.agreement(-right, right) == 0.0
    assert rerank.agreement(np.array([0.1, 0.3, 0.2]), right) == pytest.approx(2 / 3)


def test_generated_data_are_the_same_every_time() -> None:
    first, second = (list(chatter.messages(50)) for _ in range(2))
    assert first == second
    assert len({message.id for message in first}) == 50
    assert any(message.reply_to_id is not None for message in first)
    data = vectors.rows(500, 16)
    again = np.concatenate([part for _, part in data.batches()])
    assert np.array_equal(again, np.concatenate([part for _, part in data.batches()]))
    assert np.allclose(np.linalg.norm(again, axis=1), 1.0, atol=1e-5)


def test_a_long_series_is_drawn_whole_and_told_in_part(tmp_path: Path) -> None:
    found = Bench("long", {}, {"cpu": "a CPU", "cores": 2, "threads": 2, "torch": "2", "load_average": [0.0]})
    seconds = tuple(float(i) for i in range(601))
    found.series = {"rss": Series("Memory", "seconds", "MB", seconds, {"rss": [500 + x for x in seconds]})}
    found.write(tmp_path, "python bot.py bench long")
    rows = re.findall(r"^\| (\d+) \| (\d+) \|$", (tmp_path / "long.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert 20 < len(rows) <= 41
    assert rows[0] == ("0", "500")
    assert rows[-1] == ("600", "1100"), "the last is told too"


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    timings = interleave({"a | b": lambda: None}, 1)
    about = {"cpu": "test", "cores": 1, "threads": 1, "torch": "0", "load_average": [0.0]}
    found = Bench("demo", {"a | b": timings.figures(PathPlan("a | b", "a | b"))}, about)
    found.targets = [Target("fast", "yes", True), Target("small", "?", None)]
    found.series = {"size": Series("Time", "n", "seconds", (1.0, 10.0), {"a": [0.1, None], "b": [0.2, 0.3]})}
    found.write(tmp_path, "python bot.py bench demo")
    page = (tmp_path / "demo.md").read_text(encoding="utf-8")
    assert "python bot.py bench demo" in page
    assert "a \\| b" in page
    assert "not measured" in page
    assert "demo-size.png" in page
    assert (tmp_path / "demo-size.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))["command"] == "python bot.py bench demo"


def test_a_gpus_targets_are_judged_by_its_own_figures() -> None:
    found = Bench("rerank", {}, {})
    assert rerank_paths.on_gpu(found, {}) == []
    names = (rerank_paths.PUBLISHED_16, rerank_paths.PACKED_16)
    for name, seconds in zip(names, (0.3, 0.05), strict=True):
        found.paths[name] = PathFigures(seconds, (seconds, seconds), 0.3 / seconds, (1, 1))
    ratios = {(rerank_paths.PACKED_16, rerank_paths.PUBLISHED_16): 6.0}
    assert [target.met for target in rerank_paths.on_gpu(found, ratios)] == [False, True]
    found.facts["long_matrix_share"] = 0.5
    assert [target.met for target in rerank_paths.on_gpu(found, ratios)] == [False, True, True]
