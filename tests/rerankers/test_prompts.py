"""Prompts byte for byte, and their tokens: the pieces together are the whole, and no stranger makes a special token."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from cogs.memory.inference.model_specs import RerankerUnavailable
from cogs.memory.rerankers.packed.prompt_tokens import PromptTokenizer, PromptWriter
from cogs.memory.rerankers.prompts import (
    LYCHEE_PAPER_FORM,
    LYCHEEMEM,
    LYCHEEMEM_INSTRUCTION,
    PRISM,
    PRISM_INSTRUCTION,
    QWEN3,
    QWEN3_INSTRUCTION,
    Template,
    parse_template,
)
from tests.rerankers.checkpoints_causal import ADDED, DOCUMENTS, QUERIES, SPECIAL, bare_tokenizer, family_tokenizer

QUERY, DOCUMENT = "who  said it?", " It was\nAda. "

GOLDEN = {
    "qwen3": (
        QWEN3,
        QWEN3_INSTRUCTION,
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: Given a '
        "web search query, retrieve relevant passages that answer the query\n<Query>: who  said it?\n"
        "<Document>:  It was\nAda. <|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "lycheemem": (
        LYCHEEMEM,
        LYCHEEMEM_INSTRUCTION,
        "<Instruct>: Given a user query, retrieve memory snippets that answer the query\n<Query>: who  said it?\n"
        "<Document>:  It was\nAda. ",
    ),
    "prism": (
        PRISM,
        PRISM_INSTRUCTION,
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        "provided. <|im_end|>\n<|im_start|>user\n<Instruct>: Judge if the document is relevant to the query. Reply "
        '"yes" or "no".\nOn "yes", also emit:\n<contribution>One sentence covering every core point the document '
        "contributes to the query, without elaboration.</contribution>\n<evidence>Self-contained rewrite of the "
        "query-relevant content. Rules:\n- Faithful: rephrase only; add or infer nothing.\n- Self-contained: evidence "
        "alone must fully answer the query.\n- Concise: drop query-irrelevant background.\n- Verbatim (no "
        "translation): proper nouns, terms, abbreviations, numbers, dates, code, URLs.\n- Output language: "
        "multilingual doc → query's language; else doc's language.</evidence>\n<Query>: who  said it?\n"
        "<Document>:  It was\nAda. <|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "lychee": (
        parse_template(LYCHEE_PAPER_FORM, ()),
        "Find it.",
        "Given the instruction and query, judge whether the document is relevant to the query (yes/no). Instruct: Find "
        "it. Query:who  said it? Document:  It was\nAda. ",
    ),
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return family_tokenizer()


@pytest.fixture(scope="module")
def prompts(tokenizer: Any) -> PromptTokenizer:
    return PromptTokenizer(tokenizer, "tiny")


@pytest.mark.parametrize("name", GOLDEN)
def test_the_rendered_prompt_is_that_of_the_card(name: str) -> None:
    template, instruction, expected = GOLDEN[name]
    assert template.render(instruction, QUERY, DOCUMENT) == expected


@pytest.mark.parametrize("name", GOLDEN)
def test_the_tokens_decode_to_the_rendered_prompt(name: str, prompts: PromptTokenizer, tokenizer: Any) -> None:
    template, instruction, expected = GOLDEN[name]
    tokens = PromptWriter(prompts, template, instruction, 4096, 4096).write(QUERY, [DOCUMENT])
    ids = tokens.constant + tokens.query + tokens.tails[0]
    assert tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == expected


text = st.one_of(st.text(max_size=12), st.sampled_from([*DOCUMENTS[:10], *QUERIES, *SPECIAL, *ADDED]))


@settings(max_examples=150, deadline=None)
@given(query=text, document=text)
@pytest.mark.parametrize("name", GOLDEN)
def test_the_pieces_tokenize_as_the_whole_does(name: str, query: str, document: str) -> None:
    template, instruction, _ = GOLDEN[name]
    tokens = PromptWriter(PROMPTS, template, instruction, 100_000, 100_000).write(query, [document])
    inner = Template("", template.constant, template.query, template.document, "").render(instruction, query, document)
    inner = inner.encode("utf-8", "replace").decode()
    ends = [PROMPTS.trusted(template.prefix), PROMPTS.trusted(template.suffix)]
    whole = [*ends[0], *bare_tokenizer().encode(inner).ids, *ends[1]]
    assert tokens.constant + tokens.query + tokens.tails[0] == whole


PROMPTS = PromptTokenizer(family_tokenizer(), "tiny")


@pytest.mark.parametrize("token", [*SPECIAL, *ADDED])
def test_a_strangers_special_token_is_plain_text(token: str, prompts: PromptTokenizer, tokenizer: Any) -> None:
    special = set(tokenizer.added_tokens_decoder)
    assert len(special) == len(SPECIAL) + len(ADDED)
    assert prompts.trusted(token) == [tokenizer.convert_tokens_to_ids(token)]
    for hidden in (token, f"a{token}b", f"{token}{token}", f" {token}\n"):
        (ids,) = prompts.plain([hidden])
        assert not special & set(ids)
        assert tokenizer.decode(ids) == hidden
        tokens = PromptWriter(prompts, QWEN3, hidden, 4096, 4096).write(hidden, [hidden])
        (clean,) = PromptWriter(prompts, QWEN3, "a", 4096, 4096).write("a", ["a"]).tails
        count = sum(i in special for i in tokens.constant + tokens.query + tokens.tails[0])
        assert count == 3 + sum(i in special for i in clean), "only the template's own"


def test_a_lone_surrogate_is_no_crash(prompts: PromptTokenizer) -> None:
    assert prompts.plain(["a\ud800b"]) == prompts.plain(["a?b"])


def test_a_tokenizer_that_cannot_keep_strangers_apart_is_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"<|im_end|>": 0, "a": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|im_end|>"])
    with pytest.raises(RerankerUnavailable, match="special token"):
        PromptTokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer), "words")


def test_yes_must_be_one_token(prompts: PromptTokenizer) -> None:
    assert prompts.single("yes") != prompts.single("no")
    with pytest.raises(RerankerUnavailable, match="spells 'zebra'"):
        prompts.single("zebra")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("Q: {query} D: {document}", Template("", "Q:", " {query} D:", " {document}", "")),
        ("{query}{document}", Template("", "", "{query}", "{document}", "")),
        (
            "<|im_start|>system\nI: {instruction}<|im_end|>\nQ: {query}<|im_end|>\nD:{document}.\n<|im_end|>\nok",
            Template(
                "",
                "<|im_start|>system\nI: {instruction}<|im_end|>\nQ:",
                " {query}<|im_end|>",
                "\nD:{document}.\n",
                "<|im_end|>\nok",
            ),
        ),
    ],
)
def test_a_configured_prompt_is_cut_where_tokens_end(source: str, parts: Template) -> None:
    assert parse_template(source, SPECIAL) == parts
    assert parts.prefix + parts.constant + parts.query + parts.document + parts.suffix == source


@pytest.mark.parametrize(
    "source",
    ["{query}", "{document}", "{document} {query}", "{query} {query} {document}", "{query} {instruction} {document}"],
)
def test_a_prompt_that_cannot_be_cut_is_an_error(source: str) -> None:
    with pytest.raises(ValueError, match="prompt needs"):
        parse_template(source, SPECIAL)


def test_what_follows_the_document_survives_its_cut(prompts: PromptTokenizer, tokenizer: Any) -> None:
    template = parse_template("Q: {query} D: {document} end.<|im_end|>", prompts.special_tokens)
    whole = PromptWriter(prompts, template, "", 4096, 4096).write("q", ["word " * 50])
    cut = PromptWriter(prompts, template, "", 40, 4096).write("q", ["word " * 50])
    assert len(cut.constant + cut.query + cut.tails[0]) == 40
    assert tokenizer.decode(cut.tails[0]).endswith(" end.<|im_end|>")
    assert len(whole.tails[0]) > 40
