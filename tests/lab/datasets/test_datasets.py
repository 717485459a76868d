"""Folders in BEIR's layout: what may be missing, what is refused, and what is said of it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from cogs.lab.datasets.beir import load_beir
from cogs.lab.datasets.dataset import DatasetError, read_time
from cogs.lab.datasets.loaders import load_dataset
from cogs.lab.evaluation.run import place

MESSAGES = [
    {"_id": "m1", "text": "The boat needs new sails.", "metadata": {"author": "Mara", "channel": "dock"}},
    {"_id": "m2", "text": "Agreed.", "metadata": {"author": "Tobias", "channel": "dock", "reply_to": "m1"}},
]
QUERIES = [{"_id": "q1", "text": "What does the boat need?", "metadata": {"channel": "dock"}}]


HEADER = "query-id\tcorpus-id\tscore\n"


def write(folder: Path, corpus: list[Any], queries: list[Any], qrels: str = HEADER + "q1\tm1\t1\n") -> Path:
    """Write a folder; a string stands for itself, so that a line may be broken."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus", corpus), ("queries", queries)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return folder


def test_a_folder_is_read_with_scopes_replies_and_judgements(tmp_path: Path) -> None:
    dataset = load_beir(write(tmp_path / "sails", MESSAGES, QUERIES))
    assert dataset.name == "sails"
    assert [m.author for m in dataset.messages] == ["Mara", "Tobias"]
    assert dataset.messages[1].reply_to == "m1"
    assert dataset.queries[0].channel == "dock"
    assert dataset.qrels == {"q1": {"m1": 1}}
    assert dataset.warnings == ()


def test_metadata_may_be_missing_and_ids_may_be_anything(tmp_path: Path) -> None:
    corpus = [{"_id": 7, "text": "one"}, {"_id": "D1:3/ü", "text": "", "metadata": None}]
    dataset = load_beir(write(tmp_path, corpus, [{"_id": 1, "text": "which?"}], "1\t7\t1\n1\tD1:3/ü\t2\n"))
    assert [m.id for m in dataset.messages] == ["7", "D1:3/ü"]
    assert dataset.qrels == {"1": {"7": 1, "D1:3/ü": 2}}
    assert dataset.queries[0].channel is None
    placed = place(dataset)
    assert len({m.id for m in placed.messages}) == 2


@pytest.mark.parametrize(
    ("corpus", "queries", "qrels", "said"),
    [
        ([MESSAGES[0], "{broken"], QUERIES, "q1\tm1\t1\n", "corpus.jsonl:2"),
        ([*MESSAGES, ["no object"]], QUERIES, "q1\tm1\t1\n", "corpus.jsonl:3"),
        ([{"text": "no id"}], QUERIES, "q1\tm1\t1\n", "corpus.jsonl:1: there is no _id"),
        (MESSAGES, [{"_id": "q1"}], "q1\tm1\t1\n", "queries.jsonl:1: there is no text"),
        (MESSAGES, QUERIES, "query-id\tcorpus-id\tscore\nq1 m1\n", "test.tsv:2"),
        (MESSAGES, QUERIES, "q1\tm1\t1\nq1\tm2\thigh\n", "test.tsv:2"),
        ([MESSAGES[0], {**MESSAGES[0], "text": "Another."}], QUERIES, "q1\tm1\t1\n", "corpus.jsonl:2: the id 'm1'"),
        ([""], QUERIES, "q1\tm1\t1\n", "holds no messages"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, corpus: Any, queries: Any, qrels: str, said: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load_beir(write(tmp_path, corpus, queries, qrels))
    assert said in str(caught.value)


def test_what_is_odd_is_said_and_not_fatal(tmp_path: Path) -> None:
    corpus = [*MESSAGES, MESSAGES[0], {"_id": "m3", "text": "x", "metadata": {"timestamp": "the other day"}}]
    queries = [*QUERIES, {"_id": "q2", "text": "Unjudged?"}, {"_id": "q3", "text": " ", "metadata": {"channel": "sea"}}]
    dataset = load_beir(write(tmp_path, corpus, queries, "q1\tm1\t1\nq1\tgone\t1\nq3\tm1\t0\nq9\tm1\t1\n"))
    said = " ".join(dataset.warnings)
    for part in (
        "taken once (m1)",
        "left out of the means (q2)",
        "count as not found (gone)",
        "q9",
        "q3: sea",
        "empty",
    ):
        assert part in said
    assert [query.id for query in dataset.judged()] == ["q1"]
    assert dataset.messages[-1].timestamp is None


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = write(tmp_path, MESSAGES, QUERIES)
    (folder / missing).unlink()
    with pytest.raises(DatasetError, match=missing.replace("/", ".")):
        load_dataset(folder)
    with pytest.raises(DatasetError, match="nowhere"):
        load_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2024-04-17T13:38:09+02:00", dt.datetime(2024, 4, 17, 11, 38, 9, tzinfo=dt.UTC)),
        ("2024-04-17", dt.datetime(2024, 4, 17, tzinfo=dt.UTC)),
        ("2023/05/20 (Sat) 02:21", dt.datetime(2023, 5, 20, 2, 21, tzinfo=dt.UTC)),
        ("1:56 pm on 8 May, 2023", dt.datetime(2023, 5, 8, 13, 56, tzinfo=dt.UTC)),
        (1713361089, dt.datetime(2024, 4, 17, 13, 38, 9, tzinfo=dt.UTC)),
        ("1713361089000", dt.datetime(2024, 4, 17, 13, 38, 9, tzinfo=dt.UTC)),
        (None, None),
        ("", None),
    ],
)
def test_times_are_read_as_data_sets_write_them(written: object, read: dt.datetime | None) -> None:
    assert read_time(written) == read


def test_messages_stand_in_the_order_of_time_whatever_their_ids(tmp_path: Path) -> None:
    def row(name: str, time: str | None, channel: str = "a") -> dict[str, Any]:
        return {"_id": name, "text": name, "metadata": {"channel": channel, "timestamp": time}}

    corpus = [row("z", "2024-01-02"), row("after z", None), row("b", "2024-01-01"), row("other", None, "b")]
    placed = place(load_beir(write(tmp_path, corpus, QUERIES)))
    assert [placed.names[m.id] for m in sorted(placed.messages, key=lambda m: m.id)] == ["b", "z", "after z", "other"]
    moments = [m.created_at for m in sorted(placed.messages, key=lambda m: m.id) if m.channel_id == 2]
    assert moments == sorted(moments)
    assert placed.last["a"] == dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
