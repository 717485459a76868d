"""The prompts of the causal rerankers, character for character as their cards print them.

A prompt is cut where the untrusted text begins and ends: ``prefix`` and ``suffix`` may hold special tokens and are
tokenized with them; everything between is plain text, whatever it looks like. The cuts lie before a space, where the
family's tokenizer always starts a new word, so that the pieces tokenize as the whole does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

JUDGE: Final = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
NO_THINKING: Final = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

QWEN3_INSTRUCTION: Final = "Given a web search query, retrieve relevant passages that answer the query"
LYCHEEMEM_INSTRUCTION: Final = "Given a user query, retrieve memory snippets that answer the query"
LYCHEE_PREFIX: Final = "Given the instruction and query, judge whether the document is relevant to the query (yes/no)."
PRISM_INSTRUCTION: Final = """\
Judge if the document is relevant to the query. Reply "yes" or "no".
On "yes", also emit:
<contribution>One sentence covering every core point the document contributes to the query, without elaboration.\
</contribution>
<evidence>Self-contained rewrite of the query-relevant content. Rules:
- Faithful: rephrase only; add or infer nothing.
- Self-contained: evidence alone must fully answer the query.
- Concise: drop query-irrelevant background.
- Verbatim (no translation): proper nouns, terms, abbreviations, numbers, dates, code, URLs.
- Output language: multilingual doc → query's language; else doc's language.</evidence>"""


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt in four parts; ``{instruction}``, ``{query}`` and ``{document}`` stand in the last three.

    ``prefix`` + ``constant`` stay the same from call to call, ``query`` from document to document.
    """

    prefix: str
    constant: str
    query: str
    document: str
    suffix: str

    def render(self, instruction: str, query: str, document: str) -> str:
        """Return the whole prompt, as a person would read it."""
        return (
            self.prefix
            + self.constant.replace("{instruction}", instruction)
            + self.query.replace("{query}", query)
            + self.document.replace("{document}", document)
            + self.suffix
        )


_BODY = {
    "constant": "<Instruct>: {instruction}\n<Query>:",
    "query": " {query}\n<Document>:",
    "document": " {document}",
}

QWEN3: Final = Template(
    prefix=f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n", suffix=NO_THINKING, **_BODY
)
LYCHEEMEM: Final = Template(prefix="", suffix="", **_BODY)
PRISM: Final = Template(
    prefix=(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        "provided. <|im_end|>\n<|im_start|>user\n"
    ),
    suffix=NO_THINKING,
    **_BODY,
)
# The released template could not be read anywhere: this is the form printed in the paper, without chat tokens.
LYCHEE_PAPER_FORM: Final = f"{LYCHEE_PREFIX} Instruct: {{instruction}} Query:{{query}} Document: {{document}}"


def parse_template(text: str, special_tokens: Sequence[str]) -> Template:
    """Cut a prompt with ``{query}`` and ``{document}``, perhaps ``{instruction}``, where its tokens can be cut.

    What stands between the document and the next special token stays with the document, for it may share a token
    with its last word.

    Raises:
        ValueError: a placeholder is missing, repeated, or the document stands before the query.
    """
    for slot, least in (("{instruction}", 0), ("{query}", 1), ("{document}", 1)):
        if not least <= text.count(slot) <= 1:
            raise ValueError(f"a prompt needs {slot} {'once' if least else 'at most once'}: {text!r}")
    query_at, document_at = text.index("{query}"), text.index("{document}")
    if document_at < query_at or text.find("{instruction}") > query_at:
        raise ValueError(f"a prompt needs instruction, query and document in this order: {text!r}")
    instructed = text.index("{instruction}") + len("{instruction}") if "{instruction}" in text else 0
    query_cut = _last_cut(text, query_at, special_tokens, at_least=instructed)
    document_cut = _last_cut(text, document_at, special_tokens, at_least=query_at + len("{query}"))
    ends = [text.find(token, document_at) for token in special_tokens]
    end = min((place for place in ends if place >= 0), default=len(text))
    return Template("", text[:query_cut], text[query_cut:document_cut], text[document_cut:end], text[end:])


def _last_cut(text: str, slot_at: int, special_tokens: Sequence[str], at_least: int) -> int:
    """Return the last place before a slot where a token surely ends: after a special token or before a lone space."""
    cuts = [at_least]
    for token in special_tokens:
        place = text.rfind(token, 0, slot_at)
        if place >= 0:
            cuts.append(place + len(token))
    for place in range(slot_at - 1, 0, -1):
        if text[place] == " " and not text[place - 1].isspace():
            cuts.append(place)
            break
    return max(cuts)
