"""Reading what Prism writes: ``yes``, a contribution and evidence, or ``no``; often not quite in that form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_THOUGHT: Final = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL | re.IGNORECASE)
_TAG: Final = re.compile(r"<\s*+(/?)\s*+(contribution|evidence)\s*+/?\s*+>", re.IGNORECASE)
# What a cut at the token limit leaves of a tag.
_TORN_TAG: Final = re.compile(r"<\s*+/?\s*+[a-z]*+\Z", re.IGNORECASE)
_VERDICT: Final = re.compile(r"\A[\s\"'`*_.:\-]*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Explanation:
    """``relevant`` is the word that came first, ``None`` where it was neither; texts are ``None`` where empty."""

    relevant: bool | None
    contribution: str | None
    evidence: str | None


def parse_explanation(text: str) -> Explanation:
    """Read a generation.

    A tag that is never closed ends where the other begins or the text ends; tags in any order, nested, doubled or in
    capitals are read; what stands outside of them is dropped. After ``no`` nothing is read. The first text of a kind
    that is not empty counts.
    """
    text = _THOUGHT.sub("", text)
    verdict = _VERDICT.match(text)
    relevant = None if verdict is None else verdict[1].lower() == "yes"
    if relevant is False:
        return Explanation(False, None, None)
    found: dict[str, list[str]] = {"contribution": [], "evidence": []}
    current: str | None = None
    place = 0
    for tag in [*_TAG.finditer(text), None]:
        if current is not None:
            found[current].append(text[place : tag.start()] if tag is not None else _TORN_TAG.sub("", text[place:]))
        if tag is not None:
            current = None if tag[1] else tag[2].lower()
            place = tag.end()
    return Explanation(relevant, _first(found["contribution"]), _first(found["evidence"]))


def _first(texts: list[str]) -> str | None:
    return next((text.strip() for text in texts if text.strip()), None)
