"""BM25: the weight of a term, and ranking by it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

K1, B = 1.2, 0.75
"""BM25's usual constants."""
PLACE = "\ue000"
"""Begins a channel's term: a character of private use, which the full-text index keeps and :func:`terms` never."""


def place(channel_id: int) -> str:
    """Return the term under which the index finds a channel's messages; no text and no name can spell it."""
    return f"{PLACE}{channel_id:x}"


def idf(documents: int, total: int) -> float:
    """Return the inverse document frequency of a term, by BM25's formula, changed to stay above 0."""
    return math.log(1 + (max(0, total - documents) + 0.5) / (documents + 0.5))


def ranked(bodies: Sequence[tuple[int, str]], rarity: Mapping[str, float], limit: int) -> list[tuple[int, float]]:
    """Return ``(id, BM25)`` of the documents that hold a term, the best first; of equal ones the newer first.

    Args:
        bodies: ``(id, terms with spaces between them)`` of documents.
        rarity: each term that is looked for, with its :func:`idf`.
        limit: how many to return.
    """
    split = [(number, body.split()) for number, body in bodies]
    average = sum(len(words) for _, words in split) / max(1, len(split))
    scored = []
    for number, words in split:
        norm = K1 * (1 - B + B * len(words) / average)
        counts = [(weight, words.count(term)) for term, weight in rarity.items()]
        score = sum(weight * count * (K1 + 1) / (count + norm) for weight, count in counts)
        if score:
            scored.append((number, score))
    return sorted(scored, key=lambda pair: (-pair[1], -pair[0]))[:limit]
