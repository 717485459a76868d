"""LycheeMem v1: the merged, packed path against the card's own procedure, written here plainly."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cogs.memory.inference.model_specs import LoadOptions, RerankerUnavailable
from cogs.memory.rerankers.base import Document, sigmoid
from cogs.memory.rerankers.formats import lycheemem
from tests.rerankers import checkpoints_causal as checkpoints
from tests.rerankers.checkpoints_causal import DOCUMENTS, QUERIES, stranger

INSTRUCTION = "Given a user query, retrieve memory snippets that answer the query"


class Card:
    """The card's procedure with the adapter unmerged: unbatched, float32."""

    def __init__(self, base: Path, adapter: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
        model.config.pad_token_id = tokenizer.pad_token_id
        self.model = PeftModel.from_pretrained(model, str(adapter)).eval()

    @torch.no_grad()
    def logit(self, query: str, document: str, limit: int = 512) -> float:
        ids = stranger(f"<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {document}")[:limit]
        return float(self.model(torch.tensor([ids])).logits[0, 0])


@pytest.fixture(scope="module")
def card() -> Card:
    return Card(checkpoints.qwen3(), checkpoints.lycheemem_adapter())


def load(
    adapter: Path | None = None, options: LoadOptions | None = None, *, merge: bool = True, **changes: Any
) -> lycheemem.LycheeMemReranker:
    spec = checkpoints.spec(
        adapter or checkpoints.lycheemem_adapter(),
        "lycheemem",
        **{"max_length": 512, "base": str(checkpoints.qwen3()), "options": {"merge": merge}, **changes},
    )
    return lycheemem.load(spec, options or checkpoints.options())


@pytest.mark.parametrize("query", QUERIES)
def test_logits_are_those_of_the_card(card: Card, query: str) -> None:
    found = load().score(query, [Document(text) for text in DOCUMENTS])
    expected = [card.logit(query, text) for text in DOCUMENTS]
    assert [score.raw for score in found] == pytest.approx(expected, abs=1e-5, rel=1e-5)
    assert [score.probability for score in found] == pytest.approx([sigmoid(raw) for raw in expected], abs=1e-5)
    assert max(expected) - min(expected) > 0.01


@pytest.mark.parametrize("limit", [90, 117, 128, 300])
def test_truncation_cuts_the_text_as_the_card_does(card: Card, limit: int) -> None:
    texts = ["a", "the deploy failed " * 5, "word " * 400]
    found = load(max_length=limit).score("who was it?", [Document(text) for text in texts])
    expected = [card.logit("who was it?", text, limit) for text in texts]
    assert [score.raw for score in found] == pytest.approx(expected, abs=1e-5, rel=1e-5)


def test_a_query_that_fills_the_limit(card: Card) -> None:
    query = "deploy " * 600
    found = load().score(query, [Document("pizza"), Document("")])
    expected = [card.logit(query, "pizza")] * 2
    assert [score.raw for score in found] == pytest.approx(expected, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merged_and_not_merged_give_the_same_order(dtype: Any) -> None:
    # Near ties may swap under rounding, so the documents of this test lie apart.
    texts = ["pizza on Friday", "who when where", "3 3 3 3", "東京", "the deploy failed at three, we rolled back"]
    documents = [Document(text) for text in texts]
    merged = load(options=checkpoints.options(dtype=dtype)).score("who?", documents)
    apart = load(options=checkpoints.options(dtype=dtype), merge=False).score("who?", documents)
    tolerance = 1e-4 if dtype == "float32" else 0.5
    assert [score.raw for score in apart] == pytest.approx([score.raw for score in merged], abs=tolerance)
    order = sorted(range(len(texts)), key=lambda place: merged[place].raw)
    assert order == sorted(range(len(texts)), key=lambda place: apart[place].raw)


def test_the_adapter_is_not_ignored() -> None:
    adapter = checkpoints.folder("lycheemem-other")
    shutil.copytree(checkpoints.lycheemem_adapter(), adapter, dirs_exist_ok=True)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {key: w * 0 if "lora_B" in key else w for key, w in weights.items()}, adapter / "adapter_model.safetensors"
    )
    (with_adapter,) = load().score("who?", [Document("pizza")])
    (without,) = load(adapter).score("who?", [Document("pizza")])
    assert abs(with_adapter.raw - without.raw) > 1e-3


def test_an_adapter_without_a_score_weight_is_refused() -> None:
    adapter = checkpoints.folder("lycheemem-no-score")
    shutil.copytree(checkpoints.lycheemem_adapter(), adapter, dirs_exist_ok=True)
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({key: w for key, w in weights.items() if "score" not in key}, adapter / "adapter_model.safetensors")
    with pytest.raises(RerankerUnavailable, match="no score weight"):
        load(adapter)


def test_a_score_head_of_low_rank_updates_only_is_refused() -> None:
    adapter = checkpoints.folder("lycheemem-lora-score")
    shutil.copytree(checkpoints.lycheemem_adapter(), adapter, dirs_exist_ok=True)
    weights = load_file(adapter / "adapter_model.safetensors")
    score = weights.pop("base_model.model.score.weight")
    weights["base_model.model.score.lora_A.weight"] = score
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(RerankerUnavailable, match="no score weight"):
        load(adapter)


def test_an_adapter_of_another_base_is_refused() -> None:
    adapter = checkpoints.folder("lycheemem-wide")
    shutil.copytree(checkpoints.lycheemem_adapter(), adapter, dirs_exist_ok=True)
    weights = load_file(adapter / "adapter_model.safetensors")
    weights["base_model.model.score.weight"] = torch.zeros(1, 64)
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(RerankerUnavailable):
        load(adapter)


def test_a_missing_base_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match="models fetch"):
        load(base=str(tmp_path / "absent"))
