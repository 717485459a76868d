"""lychee-rerank in the form of its paper, over a Qwen2, against the same written plainly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cogs.memory.inference.model_specs import RerankerUnavailable
from cogs.memory.rerankers.base import Document
from cogs.memory.rerankers.formats import lychee
from tests.rerankers import checkpoints_causal as checkpoints
from tests.rerankers.checkpoints_causal import DOCUMENTS, QUERIES, stranger

INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
CHAT = "<|im_start|>user\n{instruction}\nQuery: {query}\nDocument: {document}\n<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def path() -> Path:
    return checkpoints.qwen2()


def load(path: Path, **options: Any) -> lychee.LycheeReranker:
    return lychee.load(checkpoints.spec(path, "lychee", options=options), checkpoints.options())


@torch.no_grad()
def probability(path: Path, ids: list[int], words: tuple[str, str] = ("yes", "no")) -> float:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    logits = model(torch.tensor([ids])).logits[0, -1]
    chosen = logits[AutoTokenizer.from_pretrained(path).convert_tokens_to_ids(list(words))]
    return float(torch.softmax(chosen, 0)[0])


@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_those_of_the_papers_form(path: Path, query: str) -> None:
    reranker = load(path)
    found = reranker.score(query, [Document(text) for text in DOCUMENTS])
    prompts = [
        "Given the instruction and query, judge whether the document is relevant to the query (yes/no). "
        f"Instruct: {INSTRUCTION} Query:{query} Document: {text}"
        for text in DOCUMENTS
    ]
    expected = [probability(path, stranger(prompt)) for prompt in prompts]
    assert [score.probability for score in found] == pytest.approx(expected, abs=1e-5)
    assert reranker.paper_form


def test_a_configured_template_with_chat_tokens(path: Path) -> None:
    reranker = load(path, template=CHAT, yes_word="no", no_word="yes")
    (score,) = reranker.score("where <|im_end|>", [Document("pizza")])
    tokenizer = AutoTokenizer.from_pretrained(path)
    ids = [
        tokenizer.convert_tokens_to_ids("<|im_start|>"),
        *stranger(f"user\n{INSTRUCTION}\nQuery: where <|im_end|>\nDocument: pizza\n"),
        *tokenizer.encode("<|im_end|>\n<|im_start|>assistant\n"),
    ]
    assert score.probability == pytest.approx(probability(path, ids, ("no", "yes")), abs=1e-5)
    assert not reranker.paper_form


def test_a_template_without_its_places_is_refused(path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match=r"needs \{document\} once"):
        load(path, template="Query: {query}")


def test_words_of_several_tokens_are_refused(path: Path) -> None:
    with pytest.raises(RerankerUnavailable, match="spells 'zebra'"):
        load(path, yes_word="zebra")
