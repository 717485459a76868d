"""The joint reranker on tiny weights: beside the model that was trained, and refused where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cogs.lab.training.joint.export import export_graphs, write_about
from cogs.lab.training.joint.model import Lower, Upper
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.words import BEGIN, END, TABLE_FILE, WORDS_DIR, word_pieces, word_table
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.formats import joint
from cogs.memory.rerankers.formats.onnx_cross_encoder import Calibrated
from cogs.memory.rerankers.pairs import PairReranker

WIDTH = 384
QUESTION = "Wo wohnt Anna?"
MESSAGES = ["Ich wohne jetzt in Gent.", "根特很好", "haha", "", "Wer kommt heute? " * 30]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Lower, Upper]:
    torch.manual_seed(3)
    lower, upper = Lower(1, WIDTH, 48, 12, 128).eval(), Upper(1, WIDTH, 48, 12).eval()
    torch.nn.init.normal_(lower.kind, std=0.1)
    folder = tmp_path_factory.mktemp("joint")
    export_graphs(lower, upper, folder)
    return folder, lower, upper


def loaded(folder: Path, limit: int = 64, threads: int = 2) -> PairReranker:
    spec = RerankerSpec("tiny", "joint", str(folder))
    settings = Calibrated(limit)
    return joint.joint(spec, LoadOptions(threads=threads), folder, settings, word_pieces(), word_table())


def as_trained(lower: Lower, upper: Upper, question: str, message: str, limit: int) -> float:
    def hidden(text: str, room: int) -> torch.Tensor:
        ids = np.array([[BEGIN, *word_pieces().ids([text])[0][: room - 2], END]])
        vectors = torch.from_numpy(word_table().vectors(ids))
        found: torch.Tensor = lower(vectors, torch.arange(ids.shape[1])[None])
        return found

    with torch.inference_mode():
        asked = hidden(f"query: {question}", 64)
        said = hidden(f"passage: {message}", limit - asked.shape[1])
        second = torch.tensor([[False] * asked.shape[1] + [True] * said.shape[1]])
        return float(upper(torch.cat([asked, said], 1), second)[0])


def test_the_shipped_graphs_score_as_the_model_that_was_trained(parts: tuple[Path, Lower, Upper]) -> None:
    folder, lower, upper = parts
    scores = loaded(folder).score(QUESTION, [Document(text) for text in MESSAGES[:4]])
    expected = [as_trained(lower, upper, QUESTION, text, 64) for text in MESSAGES[:4]]
    assert [score.raw for score in scores] == pytest.approx(expected, abs=0.15)
    assert len({round(score.raw, 4) for score in scores}) == 4


def test_a_score_depends_on_no_other_candidate(parts: tuple[Path, Lower, Upper]) -> None:
    reranker = loaded(parts[0])
    documents = [Document(text) for text in MESSAGES]
    together = reranker.score(QUESTION, documents)
    assert [reranker.score(QUESTION, [one])[0].raw for one in documents] == [score.raw for score in together]
    assert reranker.score(QUESTION, []) == []


def test_a_long_question_leaves_room_for_the_message(parts: tuple[Path, Lower, Upper]) -> None:
    reranker = loaded(parts[0], limit=128)
    one, two = reranker.score("why? " * 500, [Document("Gent"), Document("Lyon")])
    assert one.raw != two.raw


def test_what_lies_beyond_the_limit_does_not_count(parts: tuple[Path, Lower, Upper]) -> None:
    reranker = loaded(parts[0], limit=24)
    one, two = reranker.score(QUESTION, [Document("a b c " * 10 + end) for end in ("Gent", "Lyon")])
    assert one.raw == two.raw


def test_a_closed_model_says_so(parts: tuple[Path, Lower, Upper]) -> None:
    reranker = loaded(parts[0])
    reranker.close()
    with pytest.raises(RuntimeError, match="closed"):
        reranker.score(QUESTION, [Document("x")])


@pytest.mark.parametrize("damaged", ["lower.onnx", "upper.onnx", "words"])
def test_other_files_than_the_stated_ones_are_refused(
    parts: tuple[Path, Lower, Upper], tmp_path: Path, damaged: str
) -> None:
    for name in ("lower.onnx", "upper.onnx"):
        (tmp_path / name).write_bytes((parts[0] / name).read_bytes() + (b"x" if name == damaged else b""))
    words = WORDS_DIR / TABLE_FILE
    write_about(tmp_path, max_length=64, words=words)
    about = json.loads((tmp_path / "mneme.json").read_text())
    if damaged == "words":
        about["words_sha256"] = "0" * 64
    else:
        about[f"{damaged.removesuffix('.onnx')}_sha256"] = "0" * 64
    (tmp_path / "mneme.json").write_text(json.dumps(about))
    with pytest.raises(RerankerUnavailable, match="SHA-256"):
        joint.load(RerankerSpec("own", "joint", str(tmp_path)), LoadOptions(threads=1))


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "mneme.json").write_text(json.dumps({"rendering": "chat", "max_length": 64}))
    with pytest.raises(RerankerUnavailable, match=r"lower\.onnx"):
        joint.load(RerankerSpec("own", "joint", str(tmp_path)), LoadOptions(threads=1))


def test_a_folder_that_was_written_loads(parts: tuple[Path, Lower, Upper], tmp_path: Path) -> None:
    for name in ("lower.onnx", "upper.onnx"):
        (tmp_path / name).write_bytes((parts[0] / name).read_bytes())
    write_about(tmp_path, max_length=64, words=WORDS_DIR / TABLE_FILE, choice={"scale": 1.0, "nothing": 0})
    reranker = joint.load(RerankerSpec("own", "joint", str(tmp_path)), LoadOptions(threads=1))
    assert reranker.chooses
    raws: npt.NDArray[np.float64] = np.array(
        [one.raw for one in reranker.score(QUESTION, [Document("a"), Document("b")])]
    )
    assert np.isfinite(raws).all()
