"""Published sets: tiny files of the same structure, made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cogs.lab.datasets.dataset import Dataset, DatasetError
from cogs.lab.datasets.loaders import load_dataset


def load(folder: Path, rows: Any, name: str = "set.json") -> Dataset:
    """Write rows to a file, as a list or as lines, and read it."""
    file = folder / name
    text = "\n".join(map(json.dumps, rows)) if name.endswith("jsonl") else json.dumps(rows)
    file.write_text(text, encoding="utf-8")
    return load_dataset(file)


def texts(dataset: Dataset, query: str) -> set[str]:
    """Return what the relevant messages of a query say."""
    return {m.text for m in dataset.messages if dataset.qrels.get(query, {}).get(m.id, 0) > 0}


LONGMEMEVAL = {
    "question_id": "e47",
    "question_type": "single-session-user",
    "question": "What did I plant?",
    "answer": "leeks",
    "question_date": "2023/05/30 (Tue) 23:40",
    "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 10:00"],
    "haystack_session_ids": ["s1", "s2"],
    "haystack_sessions": [
        [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}],
        [{"role": "user", "content": "I planted leeks.", "has_answer": True}, {"role": "assistant", "content": "Nice"}],
    ],
    "answer_session_ids": ["s2"],
}


def test_longmemeval_gives_each_question_its_own_history(tmp_path: Path) -> None:
    refused = {**LONGMEMEVAL, "question_id": "e48_abs"}
    dataset = load(tmp_path, [LONGMEMEVAL, refused], "longmemeval_oracle.json")
    assert texts(dataset, "e47") == {"I planted leeks."}
    assert [q.id for q in dataset.judged()] == ["e47"]
    assert dataset.queries[0].asked_at is not None
    assert {m.channel for m in dataset.messages} == {"e47", "e48_abs"}
    assert len({m.id for m in dataset.messages}) == 8


def test_longmemeval_without_marks_takes_the_answer_session(tmp_path: Path) -> None:
    bare = json.loads(json.dumps(LONGMEMEVAL).replace(', "has_answer": true', ""))
    assert texts(load(tmp_path, [bare]), "e47") == {"I planted leeks."}


def test_locomo(tmp_path: Path) -> None:
    row = {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ina",
            "speaker_b": "Udo",
            "session_2_date_time": "10:37 am on 27 June, 2023",
            "session_2": [{"speaker": "Udo", "dia_id": "D2:1", "text": "It was fun."}],
            "session_10_date_time": "9:00 pm on 3 July, 2023",
            "session_10": [
                {"speaker": "Ina", "dia_id": "D10:1", "text": "Look!", "blip_caption": "a photo of a kiln"},
            ],
        },
        "qa": [
            {"question": "What did Ina show?", "answer": "a kiln", "evidence": ["D10:1; D2:1"], "category": 1},
            {"question": "Never said?", "adversarial_answer": "x", "evidence": [], "category": 5},
        ],
    }
    dataset = load(tmp_path, [row], "locomo10.json")
    assert texts(dataset, "conv-1/q0") == {"Look! [image: a photo of a kiln]", "It was fun."}
    assert [(q.category, q.channel) for q in dataset.queries] == [("multi-hop", "conv-1"), ("adversarial", "conv-1")]
    assert [m.author for m in dataset.messages] == ["Udo", "Ina"]
    assert str(dataset.messages[0].timestamp) == "2023-06-27 10:37:00+00:00"


def test_memfuse_finds_evidence_by_the_answer_and_says_so(tmp_path: Path) -> None:
    row = {
        "question_id": "q1",
        "question_type": "single_hop",
        "question": "Which dog do I have?",
        "answer": "a brown poodle",
        "choices": ["a brown poodle", "a cat"],
        "correct_choice_index": 0,
        "haystack_session_datetimes": ["2024-01-01T10:00:00"],
        "haystack_sessions": [
            [{"role": "user", "content": "My poodle is brown."}, {"role": "assistant", "content": "A poodle!"}]
        ],
    }
    dataset = load(tmp_path, [row], "msc_memfuse_mc10.jsonl")
    assert texts(dataset, "q1") == {"My poodle is brown."}
    assert "not marked" in dataset.warnings[0]


@pytest.mark.parametrize("columns", [False, True])
def test_hotpotqa_as_the_authors_and_as_the_hub_hold_it(tmp_path: Path, columns: bool) -> None:
    pairs: Any = [["Oslo", ["Oslo is a city.", " It is cold."]], ["Rome", ["Rome is old."]]]
    facts: Any = [["Oslo", 0], ["Oslo", 1]]
    if columns:
        pairs = {"title": [t for t, _ in pairs], "sentences": [s for _, s in pairs]}
        facts = {"title": ["Oslo", "Oslo"], "sent_id": [0, 1]}
    row = {"_id": "5a", "question": "Where is it cold?", "type": "bridge", "context": pairs, "supporting_facts": facts}
    assert texts(load(tmp_path, [row]), "5a") == {"Oslo\nOslo is a city. It is cold."}


def test_hindsight_triplets(tmp_path: Path) -> None:
    memory = {"text": "They use YAML.", "occurred_start": "2026-03-20T00:00:00", "type": "world", "context": ""}
    row = {"query": "Which format?", "positive": memory, "negative": {**memory, "text": "They use TOML."}}
    dataset = load(tmp_path, [row, row], "eval_70.jsonl")
    assert texts(dataset, "0") == texts(dataset, "1") == {"They use YAML."}
    first = [next(m.text for m in dataset.messages if m.channel == channel) for channel in ("0", "1")]
    assert first[0] != first[1], "the evidence does not always stand first"


def lmeb(folder: Path, candidates: list[dict[str, Any]]) -> Dataset:
    """Write a folder as LMEB has them and read it."""
    files = {
        "corpus.jsonl": [{"id": name, "text": f"text {name}", "title": ""} for name in ("a_1", "a_2", "b_1")],
        "queries.jsonl": [{"id": "a_q1", "text": "first?"}, {"id": "q2", "text": "second?", "scene_id": "b"}],
        "candidates.jsonl": candidates,
    }
    for name, rows in files.items():
        (folder / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\na_q1\ta_2\t1\nq2\tb_1\t1\n", encoding="utf-8")
    return load_dataset(folder)


def test_lmeb_scenes_are_the_scopes_of_their_queries(tmp_path: Path) -> None:
    dataset = lmeb(
        tmp_path,
        [{"scene_id": "a", "candidate_doc_ids": ["a_1", "a_2"]}, {"scene_id": "b", "candidate_doc_ids": ["b_1"]}],
    )
    assert [q.channel for q in dataset.queries] == ["a", "b"]
    assert [m.channel for m in dataset.messages] == ["a", "a", "b"]
    assert dataset.warnings == ()


def test_lmeb_scenes_that_overlap_cannot_be_channels(tmp_path: Path) -> None:
    dataset = lmeb(tmp_path, [{"scene_id": "a", "ids": ["a_1", "a_2"]}, {"scene_id": "b", "ids": ["a_1", "b_1"]}])
    assert {m.channel for m in dataset.messages} == {""}
    assert "overlap" in dataset.warnings[-1]


def test_a_file_of_another_kind_is_refused_with_its_fields(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none of the published sets.*speech"):
        load(tmp_path, [{"speech": "x"}])
    with pytest.raises(DatasetError, match="looks like locomo"):
        load(tmp_path, [{"conversation": {"session_1": [{"speaker": "A"}]}, "qa": []}])
    (tmp_path / "lines.jsonl").write_text('{"query": "a"}\n{', encoding="utf-8")
    with pytest.raises(DatasetError, match=r"lines.jsonl:2"):
        load_dataset(tmp_path / "lines.jsonl")
