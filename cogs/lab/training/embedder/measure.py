"""What vectors alone find: MAP and recall of an embedder within each channel of a development set."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from cogs.lab.datasets.conversations import Conversation
from cogs.lab.training.embedder.pairs import without_names

Vectors = npt.NDArray[np.float32]
DEPTH: Final = 50


class Embeds(Protocol):
    """What of the embedding service is measured."""

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors (n, dim) of passages."""

    def embed_query(self, text: str) -> Vectors:
        """Return the unit vector (dim,) of a question."""


@dataclass(frozen=True, slots=True)
class Found:
    """Means over ``questions``: of the average precision, and of the share of evidence among the 50 nearest."""

    questions: int
    mean_average_precision: float
    recall: float


def vectors_alone(
    embedder: Embeds, conversations: Iterable[Conversation], most: int = 100, *, names: bool = True, seed: int = 1
) -> Found:
    """Rank each channel's turns for up to ``most`` of its questions by cosine; ``names`` False cuts the members' out.

    Args:
        embedder: makes the vectors.
        conversations: channels with questions.
        most: questions of each channel at most, drawn by ``seed``.
        names: whether the members' names stay in the question.
        seed: of the draw.
    """
    precisions: list[float] = []
    recalls: list[float] = []
    for conversation in conversations:
        places = {turn.id: place for place, turn in enumerate(conversation.turns)}
        asked = [question for question in conversation.questions if places.keys() & set(question.positives)]
        if not asked:
            continue
        passages = embedder.embed_passages([f"{turn.author}: {turn.text}" for turn in conversation.turns])
        members = frozenset(part for turn in conversation.turns for part in (turn.author, *turn.author.split()))
        for question in random.Random(seed).sample(asked, min(most, len(asked))):
            text = question.text if names else without_names(question.text, members)
            order = np.argsort(-(passages @ embedder.embed_query(text)), kind="stable")
            relevant = [places[key] for key in question.positives if key in places]
            ranks = np.flatnonzero(np.isin(order, relevant))
            precisions.append(float((np.arange(1, len(ranks) + 1) / (ranks + 1)).mean()))
            recalls.append(float((ranks < DEPTH).mean()))
    if not precisions:
        return Found(0, 0.0, 0.0)
    return Found(len(precisions), float(np.mean(precisions)), float(np.mean(recalls)))
