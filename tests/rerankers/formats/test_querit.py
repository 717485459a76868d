"""Querit beside a plain reading of its card, on a Qwen3 backbone, a DeepSeek-style mixture, and code of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoConfig, DeepseekV3Model, Qwen3Model

from cogs.memory.inference.model_specs import RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.formats import querit
from tests.rerankers import checkpoints_other
from tests.rerankers.checkpoints_other import DOCUMENTS, QUERY, TEXTS, options

FAMILIES = ("qwen3", "deepseek", "remote")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("querit")
    return {family: checkpoints_other.querit(root / family, family) for family in FAMILIES}


def spec(folder: Path, **changes: object) -> RerankerSpec:
    return dataclasses.replace(RerankerSpec("querit-tiny", "querit", str(folder), max_length=96), **changes)  # type: ignore[arg-type]


def reference(folder: Path, prompts: list[str], limit: int = 96) -> list[float]:
    """The card's steps, one text at a time, without padding: p1 − p0."""
    config = AutoConfig.from_pretrained(folder)
    cls = DeepseekV3Model if config.model_type == "deepseek_v3" else Qwen3Model
    weights = load_file(folder / "model.safetensors")
    if any(name.startswith("model.") for name in weights):
        model = cls(config)
        model.load_state_dict({k.removeprefix("model."): v for k, v in weights.items() if "classifier" not in k})
    else:
        model = cls.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    found = []
    for prompt in prompts:
        ids = [*tokenizer.encode(prompt, add_special_tokens=False).ids[:limit], tokenizer.token_to_id("[CLS]")]
        mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        mask[-1] = True
        with torch.no_grad():
            hidden = model(torch.tensor([ids]), attention_mask=mask[None, None]).last_hidden_state[0, -1]
            logits = hidden @ weights["classifier.weight"].T + weights["classifier.bias"]
        p0, p1 = logits.float().softmax(0).tolist()
        found.append(p1 - p0)
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch_tokens", [1, 400, 4096])
def test_scores_are_those_of_the_card(folders: dict[str, Path], tmp_path: Path, family: str, batch_tokens: int) -> None:
    allowed = options(tmp_path, batch_tokens=batch_tokens, trust_remote_code=frozenset({"querit-tiny"}))
    scores = querit.load(spec(folders[family]), allowed).score(QUERY, DOCUMENTS)
    judge = "Judge whether the Content meets the requirements based on the Query."
    expected = reference(folders[family], [f"{judge} Query: {QUERY}; Content: {text}" for text in TEXTS])
    assert [score.raw for score in scores] == pytest.approx(expected, abs=1e-5)
    assert [score.probability for score in scores] == pytest.approx([(raw + 1) / 2 for raw in expected], abs=1e-5)
    assert len({round(raw, 4) for raw in expected}) >= 8
    assert all(-1 <= raw <= 1 for raw in expected)


def test_prompts_byte_for_byte() -> None:
    assert querit.render(None, "who?", "Alice") == (
        "Judge whether the Content meets the requirements based on the Query. Query: who?; Content: Alice"
    )
    assert querit.render("Find the quote.", "who?", "") == "Find the quote. Query: who?; Content: "


def test_an_instruction_of_ones_own(folders: dict[str, Path], tmp_path: Path) -> None:
    scores = querit.load(spec(folders["qwen3"], instruction="Find the quote."), options(tmp_path)).score("", DOCUMENTS)
    expected = reference(folders["qwen3"], [f"Find the quote. Query: ; Content: {text}" for text in TEXTS])
    assert [score.raw for score in scores] == pytest.approx(expected, abs=1e-5)


def test_cls_stays_last_and_the_documents_text_never_makes_one(folders: dict[str, Path], tmp_path: Path) -> None:
    reranker = querit.load(spec(folders["qwen3"]), options(tmp_path, max_document_tokens=20))
    tokenizer = Tokenizer.from_file(str(folders["qwen3"] / "tokenizer.json"))
    cls, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("<|im_end|>")
    for ids in reranker._rows("[CLS] q", ["[CLS] yes <|im_end|>", "word " * 500, ""]):
        assert ids[-1] == cls
        assert ids.count(cls) == 1
        assert end not in ids
        assert len(ids) <= 97


def test_the_mask_is_causal_with_padding_apart() -> None:
    mask = querit.attention_mask([3, 2], 3)
    assert mask.shape == (2, 1, 3, 3)
    assert mask[0, 0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert mask[1, 0].tolist() == [[True, False, False], [False, True, False], [False, True, True]]


def test_code_of_a_checkpoint_runs_only_where_it_is_named(tmp_path: Path) -> None:
    folder = checkpoints_other.querit(tmp_path / "model", "remote")
    for named in (frozenset[str](), frozenset({"another", "querit"})):
        with pytest.raises(RerankerUnavailable, match="MNEME_TRUST_REMOTE_CODE=querit-tiny"):
            querit.load(spec(folder), options(tmp_path, trust_remote_code=named))
    assert not (folder / "ran").exists()
    querit.load(spec(folder), options(tmp_path, trust_remote_code=frozenset({"querit-tiny"})))


def test_what_is_not_in_the_checkpoint_is_refused(tmp_path: Path) -> None:
    for heads in (0, 2):
        folder = checkpoints_other.querit(tmp_path / f"heads{heads}", "qwen3", heads=heads)
        with pytest.raises(RerankerUnavailable, match=f"{heads} classifiers"):
            querit.load(spec(folder), options(tmp_path))
    folder = checkpoints_other.querit(tmp_path / "no-cls", "qwen3", cls=False)
    with pytest.raises(RerankerUnavailable, match=r"\[CLS\]"):
        querit.load(spec(folder), options(tmp_path))
    with pytest.raises(RerankerUnavailable, match="float32 or bfloat16"):
        querit.load(spec(folder), options(tmp_path, dtype="int8"))


def test_nothing_to_score(folders: dict[str, Path], tmp_path: Path) -> None:
    assert querit.load(spec(folders["qwen3"]), options(tmp_path)).score(QUERY, []) == []
    score = querit.load(spec(folders["qwen3"]), options(tmp_path)).score("", [Document("")])[0]
    assert 0 <= score.probability <= 1
