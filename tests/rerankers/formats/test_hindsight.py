"""The Hindsight reranker: documents byte for byte as its card writes them, scores as its card computes them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from cogs.memory.inference.model_specs import RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.formats import cross_encoder, hindsight
from tests.rerankers.checkpoints_other import DOCUMENTS, QUERY, TEXTS, bert, options

MARCH, APRIL = dt.datetime(2024, 3, 5, tzinfo=dt.UTC), dt.datetime(2024, 4, 30, 23, 59, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = bert(tmp_path_factory.mktemp("hindsight") / "model")
    (folder / "model.onnx").write_bytes(cross_encoder.export(folder))
    return folder


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (
            Document("Alice joined Acme", start=MARCH, context="work", kind="World"),
            "[Start: March 05, 2024 (2024-03-05)] [End: ongoing] [World] work: Alice joined Acme",
        ),
        (
            Document("Alice left", start=MARCH, end=APRIL, kind="Event"),
            "[Start: March 05, 2024 (2024-03-05)] [End: April 30, 2024 (2024-04-30)] [Event] Alice left",
        ),
        (Document("it ended", end=APRIL, kind="Event"), "[End: April 30, 2024 (2024-04-30)] [Event] it ended"),
        (Document("no dates", kind="Observation", context="mood"), "[Observation] mood: no dates"),
        (Document(""), "[World] "),
        (Document("said", timestamp=MARCH), "[Start: March 05, 2024 (2024-03-05)] [End: ongoing] [World] said"),
        (Document("b", timestamp=APRIL, start=MARCH), "[Start: March 05, 2024 (2024-03-05)] [End: ongoing] [World] b"),
    ],
)
def test_documents_are_written_as_the_card_writes_them(document: Document, text: str) -> None:
    assert hindsight.render(document) == text


def reference(folder: Path, query: str, texts: list[str], limit: int) -> list[float]:
    """The card's own steps, one pair at a time."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(max_length=limit)
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    found = []
    for text in texts:
        encoding = tokenizer.encode_batch([(query, text)])[0]
        feed = {
            "input_ids": np.array([encoding.ids], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask], dtype=np.int64),
            "token_type_ids": np.array([encoding.type_ids], dtype=np.int64),
        }
        found.append(float(session.run(None, feed)[0].flatten()[0]))
    return found


@pytest.mark.parametrize("limit", [16, 128])
@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_scores_are_those_of_the_card(folder: Path, tmp_path: Path, limit: int, batch_tokens: int) -> None:
    spec = RerankerSpec("hindsight", "hindsight", str(folder), max_length=limit)
    reranker = hindsight.load(spec, options(tmp_path, batch_tokens=batch_tokens))
    documents = [*DOCUMENTS, Document("Alice joined Acme", start=MARCH, end=APRIL, context="work", kind="Event")]
    texts = [
        *(f"[World] {text}" for text in TEXTS),
        "[Start: March 05, 2024 (2024-03-05)] [End: April 30, 2024 (2024-04-30)] [Event] work: Alice joined Acme",
    ]
    scores = reranker.score(QUERY, documents)
    assert [score.raw for score in scores] == pytest.approx(reference(folder, QUERY, texts, limit), abs=1e-5)
    assert all(0 < score.probability < 1 for score in scores)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match=r"python bot\.py models fetch hindsight-minilm-l12"):
        hindsight.load(RerankerSpec("hindsight-minilm-l12", "hindsight", "JasperHG90/x", "v2"), options(tmp_path))
    with pytest.raises(RerankerUnavailable, match=r"int4\.onnx"):
        hindsight.load(RerankerSpec("h", "hindsight", str(folder), options={"file": "int4.onnx"}), options(tmp_path))
    with pytest.raises(RerankerUnavailable, match="Observation"):
        hindsight.load(RerankerSpec("h", "hindsight", str(folder), options={"kind": "Fact"}), options(tmp_path))
