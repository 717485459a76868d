"""How a chat message is written for the shipped cross-encoder, in training and at run time alike; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from cogs.memory.rerankers.base import Document
from cogs.memory.text.terms import terms

RENDERING: Final = "chat"
"""Named in the model's ``mneme.json``; a model trained on another rendering is refused."""

CONTEXT_WORDS: Final = 16
PASSAGE_WORDS: Final = 60
PASSAGES: Final = 3
NEAR_WORDS: Final = 12
"""How far from its place a cut moves to the end of a sentence."""
_SENTENCE_ENDS: Final = (".", "!", "?", "…", ".)", '."', "。", "！", "？")


def render_chat(document: Document) -> str:
    """Return ``Alice (3 May 2024): text | answering: the words replied to``, leaving out what is not known.

    The reader sees who spoke and when, because a question names both; what a reply answers comes last, so that
    truncation cuts it before the message itself.
    """
    text = " ".join(document.text.split())
    when = document.timestamp or document.start
    date = f"{when.day} {when:%B %Y}" if when is not None else ""
    if document.author and date:
        text = f"{document.author} ({date}): {text}"
    elif document.author:
        text = f"{document.author}: {text}"
    elif date:
        text = f"({date}) {text}"
    if document.context:
        text = f"{text} | answering: {' '.join(document.context.split()[:CONTEXT_WORDS])}"
    return text


def passages(query: str, document: Document) -> list[Document]:
    """Return a long message as the passages that are worth judging, in its order; a short one as it is.

    A small cross-encoder that learnt on chat judges a line or two well and a page badly, and would read no further than
    its limit. So a long message counts for its best passage: of about :data:`PASSAGE_WORDS` words, cut at the end of a
    sentence where one is near, and of many passages only the :data:`PASSAGES` that share the most words with the
    question.
    """
    words = document.text.split()
    if len(words) <= PASSAGE_WORDS * 4 // 3:
        return [document]
    count = -(-len(words) // PASSAGE_WORDS)
    edges = [0, *(_cut(words, number * len(words) // count) for number in range(1, count)), len(words)]
    parts = [" ".join(words[start:end]) for start, end in pairwise(edges)]
    if count > PASSAGES:
        asked = set(terms(query))
        shared = [len(asked.intersection(terms(part))) for part in parts]
        chosen = sorted(range(count), key=lambda number: (-shared[number], number))[:PASSAGES]
        parts = [parts[number] for number in sorted(chosen)]
    return [replace(document, text=part) for part in parts]


def _cut(words: Sequence[str], place: int) -> int:
    """Return the end of a sentence that is nearest to ``place``, or ``place`` itself."""
    near = range(max(1, place - NEAR_WORDS), min(len(words), place + NEAR_WORDS + 1))
    ends = [end for end in near if words[end - 1].endswith(_SENTENCE_ENDS)]
    return min(ends, key=lambda end: (abs(end - place), end), default=place)
