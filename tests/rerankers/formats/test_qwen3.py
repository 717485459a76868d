"""Qwen3-Reranker: the packed path against the card's description, written here plainly."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from cogs.memory.inference.model_specs import LoadOptions, RerankerUnavailable
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.causal import PackedScorer
from cogs.memory.rerankers.formats import qwen3
from cogs.memory.rerankers.packed.decoder import PackedDecoder
from tests.rerankers import checkpoints_causal as checkpoints
from tests.rerankers.checkpoints_causal import DOCUMENTS, QUERIES, stranger

INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


class Card:
    """The card's procedure: unbatched, whole logits, float32; untrusted text cannot hold special tokens."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)

    def prompt(self, query: str, document: str, limit: int, instruction: str = INSTRUCTION) -> list[int]:
        prefix = self.tokenizer.encode(PREFIX, add_special_tokens=False)
        suffix = self.tokenizer.encode(SUFFIX, add_special_tokens=False)
        body = stranger(f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}")
        return [*prefix, *body[: limit - len(prefix) - len(suffix)], *suffix]

    @torch.no_grad()
    def score(self, ids: Sequence[int]) -> float:
        logits = self.model(torch.tensor([list(ids)])).logits[0, -1]
        yes, no = self.tokenizer.convert_tokens_to_ids("yes"), self.tokenizer.convert_tokens_to_ids("no")
        return float(torch.log_softmax(torch.stack([logits[no], logits[yes]]), 0)[1].exp())


@pytest.fixture(scope="module")
def path() -> Path:
    return checkpoints.qwen3()


@pytest.fixture(scope="module")
def card(path: Path) -> Card:
    return Card(path)


def load(path: Path, where: LoadOptions | None = None, **changes: Any) -> qwen3.Qwen3Reranker:
    return qwen3.load(checkpoints.spec(path, "qwen3", **changes), where or checkpoints.options())


def packed_decoder(reranker: qwen3.Qwen3Reranker) -> PackedDecoder:
    assert isinstance(reranker._scorer, PackedScorer)
    return reranker._scorer._decoder


@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_those_of_the_card(path: Path, card: Card, query: str) -> None:
    found = load(path).score(query, [Document(text) for text in DOCUMENTS])
    expected = [card.score(card.prompt(query, text, 1024)) for text in DOCUMENTS]
    assert [score.probability for score in found] == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.01, "the checkpoint tells its documents apart"


@pytest.mark.parametrize("batch_tokens", [1, 40, 300])
def test_the_budget_of_a_pass_does_not_change_scores(path: Path, batch_tokens: int) -> None:
    documents = [Document(text) for text in DOCUMENTS]
    whole = load(path).score(QUERIES[0], documents)
    parts = load(path, checkpoints.options(batch_tokens=batch_tokens)).score(QUERIES[0], documents)
    assert [score.raw for score in parts] == pytest.approx([score.raw for score in whole], abs=1e-4)


def test_a_second_query_and_a_repeated_one_use_no_stale_state(path: Path, card: Card) -> None:
    reranker = load(path)
    for query in (QUERIES[0], QUERIES[3], QUERIES[0], "x", QUERIES[1], "yy", QUERIES[0]):
        (score,) = reranker.score(query, [Document("pizza on Friday")])
        assert score.probability == pytest.approx(card.score(card.prompt(query, "pizza on Friday", 1024)), abs=1e-5)


@pytest.mark.parametrize("limit", [*range(150, 240, 7), 700])
def test_every_length_up_to_the_limit(path: Path, card: Card, limit: int) -> None:
    texts = ["a", "the deploy failed " * 3, "word " * 400]
    found = load(path, max_length=limit).score("who?", [Document(text) for text in texts])
    expected = [card.score(card.prompt("who?", text, limit)) for text in texts]
    assert [score.probability for score in found] == pytest.approx(expected, abs=1e-5)


def test_a_query_beyond_the_limit_is_cut_and_nothing_else(path: Path, card: Card) -> None:
    (score,) = load(path, max_length=260).score("deploy " * 300, [Document("pizza")])
    assert score.probability == pytest.approx(card.score(card.prompt("deploy " * 300, "pizza", 260)), abs=1e-5)


def test_the_cards_own_limit_of_8192_tokens(path: Path, card: Card) -> None:
    text = "where was it? " * 3000
    (score,) = load(path, max_length=8192).score("who?", [Document(text)])
    ids = card.prompt("who?", text, 8192)
    assert len(ids) == 8192
    assert score.probability == pytest.approx(card.score(ids), abs=1e-5)


def test_the_profiles_limit_cuts_only_the_documents_tail(path: Path, card: Card) -> None:
    reranker = load(path, checkpoints.options(max_document_tokens=5))
    (score,) = reranker.score("who?", [Document("deploy pizza user memory assistant and then much more")])
    head = stranger(f"<Instruct>: {INSTRUCTION}\n<Query>: who?\n<Document>:")
    whole = card.prompt("who?", "deploy pizza user memory assistant and then much more", 1024)
    start = len(card.tokenizer.encode(PREFIX, add_special_tokens=False)) + len(head)
    suffix = len(card.tokenizer.encode(SUFFIX, add_special_tokens=False))
    assert score.probability == pytest.approx(card.score(whole[: start + 5] + whole[-suffix:]), abs=1e-5)


def test_another_instruction(path: Path, card: Card) -> None:
    other = "Given a piece of text, retrieve relevant label descriptions that best match the text"
    (score,) = load(path, instruction=other).score("who?", [Document("pizza")])
    assert score.probability == pytest.approx(card.score(card.prompt("who?", "pizza", 1024, other)), abs=1e-5)


def test_no_documents_and_one(path: Path) -> None:
    reranker = load(path)
    assert reranker.score("who?", []) == []
    assert len(reranker.score("who?", [Document("")])) == 1


def test_bfloat16_keeps_close(path: Path) -> None:
    documents = [Document(text) for text in DOCUMENTS]
    exact = load(path).score(QUERIES[0], documents)
    rounded = load(path, checkpoints.options(dtype="bfloat16")).score(QUERIES[0], documents)
    assert [score.raw for score in rounded] == pytest.approx([score.raw for score in exact], abs=0.5)


def test_out_of_memory_halves_the_pass_and_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [Document(text) for text in DOCUMENTS]
    expected = [score.raw for score in load(path).score(QUERIES[0], documents)]
    reranker = load(path)
    decoder = packed_decoder(reranker)
    forward, refused = decoder.forward, []

    def small(past: Any, head: Sequence[int], tails: Sequence[Sequence[int]]) -> Any:
        if sum(map(len, tails)) > 900:
            refused.append(len(tails))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(past, head, tails)

    monkeypatch.setattr(decoder, "forward", small)
    assert [score.raw for score in reranker.score(QUERIES[0], documents)] == pytest.approx(expected, abs=1e-4)
    assert refused
    refused.clear()
    reranker.score(QUERIES[0], documents)
    assert not refused, "the smaller budget is remembered"


def test_one_document_that_does_not_fit_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = load(path)

    def never(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(packed_decoder(reranker), "forward", never)
    with pytest.raises(torch.OutOfMemoryError):
        reranker.score("who?", [Document("pizza")])


def test_a_model_that_is_not_here_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match="models fetch tiny-qwen3"):
        load(tmp_path / "absent")


def test_a_limit_without_room_is_refused(path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match="no room"):
        load(path, max_length=60)


def test_attention_is_a_choice_of_the_spec(path: Path) -> None:
    documents = [Document(text) for text in DOCUMENTS]
    default = load(path).score("who?", documents)
    padded = load(path, None, options={"attention": "padded"}).score("who?", documents)
    assert [score.raw for score in padded] == pytest.approx([score.raw for score in default], abs=1e-4)
    with pytest.raises(RerankerUnavailable, match="unknown attention 'flash'"):
        load(path, None, options={"attention": "flash"})


def test_probabilities_are_finite_and_in_range(path: Path) -> None:
    for score in load(path).score(QUERIES[0], [Document(text) for text in DOCUMENTS]):
        assert 0 <= score.probability <= 1
        assert math.isfinite(score.raw)


def test_a_checkpoint_that_lacks_weights_is_refused(path: Path) -> None:
    broken = checkpoints.folder("qwen3-broken")
    shutil.copytree(path, broken, dirs_exist_ok=True)
    weights = load_file(broken / "model.safetensors")
    save_file(
        {key: w for key, w in weights.items() if key != "model.layers.1.mlp.up_proj.weight"},
        broken / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(RerankerUnavailable, match="up_proj"):
        load(broken)
