"""Fusion: keyword and semantic candidates in one order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cogs.memory.query import QueryInfo
from cogs.memory.records import StoredMessage

KEYWORD_WEIGHT = 0.5
AUTHOR_BOOST = 0.1


@dataclass(frozen=True, slots=True)
class Fused:
    """A candidate with its score in [0, 1]."""

    message_id: int
    score: float


def fuse(
    info: QueryInfo,
    keyword: Sequence[tuple[int, float]],
    semantic: Sequence[tuple[int, float]],
    messages: Mapping[int, StoredMessage],
) -> list[Fused]:
    """Return the candidates by the weighted sum of their normalised scores, the best first."""
    scores: dict[int, float] = {}
    best = max((score for _, score in keyword), default=0.0)
    for message_id, score in keyword:
        scores[message_id] = KEYWORD_WEIGHT * score / best if best > 0 else 0.0
    for message_id, cosine in semantic:
        scores[message_id] = scores.get(message_id, 0.0) + (1 - KEYWORD_WEIGHT) * max(0.0, cosine)
    for message_id in scores:
        if messages[message_id].author_name in info.names:
            scores[message_id] += AUTHOR_BOOST
    ordered = sorted(scores.items(), key=lambda pair: (-pair[1], -pair[0]))
    return [Fused(message_id, min(1.0, score)) for message_id, score in ordered]
