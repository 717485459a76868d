"""Prism: scores against the card's description on both of its architectures, and what it writes, read robustly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from cogs.memory.inference.model_specs import LoadOptions
from cogs.memory.rerankers.base import Document, Score
from cogs.memory.rerankers.formats import prism
from cogs.memory.rerankers.formats.prism_parse import Explanation, parse_explanation
from tests.rerankers import checkpoints_causal as checkpoints
from tests.rerankers.checkpoints_causal import DOCUMENTS, QUERIES, stranger

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    "provided. <|im_end|>\n<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "\n".join(
    [
        'Judge if the document is relevant to the query. Reply "yes" or "no".',
        'On "yes", also emit:',
        "<contribution>One sentence covering every core point the document contributes to the query, without "
        "elaboration.</contribution>",
        "<evidence>Self-contained rewrite of the query-relevant content. Rules:",
        "- Faithful: rephrase only; add or infer nothing.",
        "- Self-contained: evidence alone must fully answer the query.",
        "- Concise: drop query-irrelevant background.",
        "- Verbatim (no translation): proper nouns, terms, abbreviations, numbers, dates, code, URLs.",
        "- Output language: multilingual doc → query's language; else doc's language.</evidence>",
    ]
)


class Card:
    """The card's procedure, unbatched in float32."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)

    def prompt(self, query: str, document: str, limit: int) -> list[int]:
        prefix = self.tokenizer.encode(PREFIX, add_special_tokens=False)
        suffix = self.tokenizer.encode(SUFFIX, add_special_tokens=False)
        body = stranger(f"<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {document}")
        return [*prefix, *body[: limit - len(prefix) - len(suffix)], *suffix]

    @torch.no_grad()
    def score(self, ids: list[int]) -> float:
        logits = self.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        yes, no = self.tokenizer.convert_tokens_to_ids("yes"), self.tokenizer.convert_tokens_to_ids("no")
        return float(torch.sigmoid(logits[yes] - logits[no]))

    @torch.no_grad()
    def generate(self, ids: list[int], most: int) -> str:
        written: list[int] = []
        endings = self.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
        while len(written) < most:
            token = int(self.model(torch.tensor([ids + written]), use_cache=False).logits[0, -1].argmax())
            if token in endings:
                break
            written.append(token)
        return str(self.tokenizer.decode(written, skip_special_tokens=True))


@pytest.fixture(scope="module", params=["qwen3", "qwen3_5"])
def path(request: pytest.FixtureRequest) -> Path:
    made: Path = getattr(checkpoints, request.param)()
    return made


@pytest.fixture(scope="module")
def card(path: Path) -> Card:
    return Card(path)


def load(path: Path, where: LoadOptions | None = None, **changes: Any) -> prism.PrismReranker:
    spec = checkpoints.spec(path, "prism", **{"max_length": 1600, **changes})
    return prism.load(spec, where or checkpoints.options())


@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_those_of_the_card(path: Path, card: Card, query: str) -> None:
    found = load(path).score(query, [Document(text) for text in DOCUMENTS])
    expected = [card.score(card.prompt(query, text, 1600)) for text in DOCUMENTS]
    assert [score.probability for score in found] == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.01


@pytest.mark.parametrize("batch_tokens", [1, 60, 500])
def test_the_budget_of_a_pass_does_not_change_scores(path: Path, card: Card, batch_tokens: int) -> None:
    reranker = load(path, checkpoints.options(batch_tokens=batch_tokens))
    for query in ("who?", "when was it?", "who?"):
        found = reranker.score(query, [Document(text) for text in DOCUMENTS[:6]])
        expected = [card.score(card.prompt(query, text, 1600)) for text in DOCUMENTS[:6]]
        assert [score.probability for score in found] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("limit", [900, 1001, 1130])
def test_the_limit_cuts_the_documents_tail(path: Path, card: Card, limit: int) -> None:
    texts = ["a", "the deploy failed " * 30, "word " * 700]
    found = load(path, max_length=limit).score("who?", [Document(text) for text in texts])
    expected = [card.score(card.prompt("who?", text, limit)) for text in texts]
    assert [score.probability for score in found] == pytest.approx(expected, abs=1e-5)


def test_what_is_generated_is_what_greedy_decoding_writes(
    path: Path, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = load(path, None, options={"max_new_tokens": 12})
    read: list[str] = []

    def note(text: str) -> Explanation:
        read.append(text)
        return Explanation(True, f"contribution {len(read)}", text)

    monkeypatch.setattr(prism, "parse_explanation", note)
    documents = [Document("pizza on Friday at three, what did she say"), Document("no"), Document("the deploy")]
    scores = [Score(0.9, 2.0), Score(0.2, -1.0), Score(0.7, 1.0)]
    found = reranker.explain("who?", documents, scores)
    assert found[1] == scores[1], "a document that the model denies costs no generation"
    assert [found[0].probability, found[2].raw] == [0.9, 1.0]
    for place in (0, 2):
        text = card.generate(card.prompt("who?", documents[place].text, 1600), 12)
        assert found[place].evidence == text
    assert len(read) == 2


def test_a_hybrid_published_with_its_vision_tower() -> None:
    vision = checkpoints.qwen3_5_vision()
    whole = AutoModelForImageTextToText.from_pretrained(vision, dtype=torch.float32)
    card = Card(checkpoints.qwen3_5())
    card.model = whole
    texts = ["pizza on Friday", "", "the deploy failed"]
    found = load(vision).score("who?", [Document(text) for text in texts])
    expected = [card.score(card.prompt("who?", text, 1600)) for text in texts]
    assert [score.probability for score in found] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_lower_precisions_score_and_write(path: Path, card: Card, dtype: Any) -> None:
    reranker = load(path, checkpoints.options(dtype=dtype), options={"max_new_tokens": 4})
    documents = [Document(text) for text in DOCUMENTS[:5]]
    found = reranker.score("who?", documents)
    expected = [card.score(card.prompt("who?", text, 1600)) for text in DOCUMENTS[:5]]
    assert [score.probability for score in found] == pytest.approx(expected, abs=0.15)
    explained = reranker.explain("who?", documents, [Score(1.0, 9.0)] * 5)
    assert [score.probability for score in explained] == [1.0] * 5


def test_nothing_to_explain(path: Path) -> None:
    reranker = load(path)
    assert reranker.explain("who?", [], []) == []
    assert reranker.explain("who?", [Document("x")], [Score(0.1, -3.0)]) == [Score(0.1, -3.0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "yes\n<contribution>It names the day.</contribution>\n<evidence>The deploy was on Friday.</evidence>",
            Explanation(True, "It names the day.", "The deploy was on Friday."),
        ),
        ("no", Explanation(False, None, None)),
        ("No.\n<evidence>nothing</evidence>", Explanation(False, None, None)),
        ("", Explanation(None, None, None)),
        ("yes", Explanation(True, None, None)),
        ("<evidence>E</evidence><contribution>C</contribution> yes", Explanation(None, "C", "E")),
        ("yes\n<contribution>C\n<evidence>E", Explanation(True, "C", "E")),
        ("yes\n<contribution>C</contribution>\n<evidence>cut in the mid", Explanation(True, "C", "cut in the mid")),
        ("yes\n<contribution>C</contribution><evidence>E</evid", Explanation(True, "C", "E")),
        ("yes <contribution>C</contribution><evidence>a < b and x</evidence>", Explanation(True, "C", "a < b and x")),
        ("Sure! yes <evidence>E</evidence> Hope it helps!", Explanation(None, None, "E")),
        ("yes<evidence>A</evidence><evidence>B</evidence>", Explanation(True, None, "A")),
        ("yes<evidence> </evidence><evidence>B</evidence>", Explanation(True, None, "B")),
        ("yes<evidence><evidence>E</evidence></evidence>", Explanation(True, None, "E")),
        ("yes<contribution><evidence>E</evidence></contribution>", Explanation(True, None, "E")),
        ("YES\n<Contribution>C</CONTRIBUTION>\n< evidence >E</ evidence >", Explanation(True, "C", "E")),
        ("**Yes**\n<contribution>C</contribution>", Explanation(True, "C", None)),
        ("<think>no, wait</think>\n\nyes\n<evidence>E</evidence>", Explanation(True, None, "E")),
        ("yesterday <evidence>E</evidence>", Explanation(None, None, "E")),
        ("yes</evidence></contribution>", Explanation(True, None, None)),
        ("yes<evidence>line one\nline two</evidence>", Explanation(True, None, "line one\nline two")),
    ],
)
def test_generations_are_read_as_they_come(text: str, expected: Explanation) -> None:
    assert parse_explanation(text) == expected


PIECES = ["yes", "no", " ", "\n", "<contribution>", "</contribution>", "<evidence>", "</evidence>", "<evi", "word", "<"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_no_tag_ever_reaches_a_reader(pieces: list[str]) -> None:
    found = parse_explanation("".join(pieces))
    for text in (found.contribution, found.evidence):
        assert text is None or (
            text and text == text.strip() and "evidence>" not in text and "contribution>" not in text
        )
