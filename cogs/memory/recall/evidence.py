"""An answer before its question: what only asks is no evidence, and lends its probability to what answers it. Pure.

A reranker reads a message alone, and the message that is nearest to a question is the same question asked by somebody
else. What answers it is the reply to it, or one of the next turns by others, which often say little by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cogs.memory.recall.asking import MOST, about_asking, asking_share
from cogs.memory.records import Hit

ASKS_WHOLLY = 0.75
"""From :data:`~cogs.memory.recall.asking.MOST` of its words on a message is taken to ask, wholly from this share on."""
LENT = 0.9
"""What a question's answer gets of its probability."""
KEPT = 0.25
"""What a question keeps of its probability: it may hold a part of the answer."""
NEARNESS = (0.9, 0.6, 0.4)
"""What of it the next turns by others get, the next one first, where none replies to it in so many words."""


def answers_first(query: str, hits: Sequence[Hit], previous: Mapping[int, int]) -> list[Hit]:
    """Return reranked hits with the probabilities of questions lent to their answers, the best first.

    Args:
        query: What was asked; where it is after somebody's question, nothing changes.
        hits: Hits with a ``rerank_score``.
        previous: The message before each in its channel, as far as is known.
    """
    if about_asking(query):
        return list(hits)
    asking = {hit.message.id: share for hit in hits if (share := _share(hit.message.content))}
    if not asking:
        return list(hits)
    by_id = {hit.message.id: hit for hit in hits}
    lent: dict[int, float] = {}
    for hit in hits:
        if hit.message.id in asking:
            continue
        for question, weight in _questions(hit, previous):
            asker = by_id.get(question)
            if asker is not None and question in asking and asker.message.author_id != hit.message.author_id:
                score = weight * LENT * asking[question] * (asker.rerank_score or 0.0)
                lent[hit.message.id] = max(lent.get(hit.message.id, 0.0), score)
    changed = []
    for hit in hits:
        score = hit.rerank_score or 0.0
        kept = 1.0 - (1.0 - KEPT) * asking.get(hit.message.id, 0.0)
        changed.append(replace(hit, rerank_score=max(score * kept, lent.get(hit.message.id, 0.0))))
    return sorted(changed, key=lambda hit: -(hit.rerank_score or 0.0))


def _share(text: str) -> float:
    share = asking_share(text)
    return 0.0 if share < MOST else min(1.0, share / ASKS_WHOLLY)


def _questions(hit: Hit, previous: Mapping[int, int]) -> Iterator[tuple[int, float]]:
    """Yield the messages that a hit may answer, and how surely."""
    if hit.message.reply_to_id is not None:
        yield hit.message.reply_to_id, 1.0
        return
    message_id = hit.message.id
    for weight in NEARNESS:
        found = previous.get(message_id)
        if found is None:
            return
        yield found, weight
        message_id = found
