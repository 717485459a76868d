"""How a chat message is written for the shipped cross-encoder, in training and at run time alike; pure."""

from __future__ import annotations

from typing import Final

from cogs.memory.rerankers.base import Document

RENDERING: Final = "chat"
"""Named in the model's ``mneme.json``; a model trained on another rendering is refused."""

CONTEXT_WORDS: Final = 16


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
