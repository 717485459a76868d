"""Stopping a rerank when the documents left cannot change the top any more."""

from __future__ import annotations

from collections.abc import Sequence

from cogs.memory.rerankers.base import Document, Reranker, Score


def is_settled(probabilities: Sequence[float], top_k: int, tolerance: float) -> bool:
    """Tell whether documents not scored yet can raise no place of the top ``top_k`` by more than ``tolerance``.

    A probability is at most 1. So when the ``top_k``-th best lies within ``tolerance`` of 1, whatever comes may push
    documents out of the top, but none that is better by more than ``tolerance`` than what it finds there.
    """
    best = sorted(probabilities, reverse=True)
    return len(best) >= top_k and best[top_k - 1] >= 1.0 - tolerance


def score_until_settled(
    reranker: Reranker, query: str, documents: Sequence[Document], *, top_k: int, tolerance: float, step: int = 10
) -> list[Score | None]:
    """Score ``documents``, the most promising first, ``step`` at a time, until the top is settled.

    What a format shares between the documents of a query it keeps between the steps. Documents that were not scored
    get ``None``; they belong behind all others, in the order in which they came.

    Args:
        top_k: how many results will be shown, at least 1.
        tolerance: by how much a probability of the top may be wrong, in [0, 1].
        step: documents scored between two looks, at least 1.
    """
    if top_k < 1 or step < 1 or not 0 <= tolerance <= 1:
        raise ValueError(f"an early exit needs top_k and step above 0 and a tolerance in [0, 1], not {tolerance}")
    scores: list[Score | None] = []
    known: list[float] = []
    while len(scores) < len(documents) and not is_settled(known, top_k, tolerance):
        fresh = reranker.score(query, documents[len(scores) : len(scores) + step])
        scores += fresh
        known += [score.probability for score in fresh]
    return scores + [None] * (len(documents) - len(scores))
