"""Measuring vectors alone: the figures of an order that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from cogs.lab.datasets.conversations import ChatTurn, Conversation, Question
from cogs.lab.training.embedder.measure import Found, Vectors, vectors_alone


class Numbers:
    """Embeds a text as its last word's number, so that cosine orders by nearness."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        angles = np.array([float(text.split()[-1]) for text in texts]) / 100
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def embed_query(self, text: str) -> Vectors:
        self.asked.append(text)
        vector: Vectors = self.embed_passages([text])[0]
        return vector


def test_the_order_by_cosine_gives_the_precision_and_the_recall() -> None:
    turns = tuple(ChatTurn(f"t{i}", "Ana", f"number {i}") for i in range(60))
    questions = (
        Question("near", "what did Ana say about 10", ("t10",)),
        Question("far", "of 0", ("t2", "t59")),
        Question("nowhere", "of 3", ("elsewhere",)),
    )
    found = vectors_alone(Numbers(), [Conversation("c", turns, questions)])
    assert found.questions == 2
    assert found.mean_average_precision == pytest.approx((1 + (1 / 3 + 2 / 60) / 2) / 2)
    assert found.recall == pytest.approx((1 + 0.5) / 2)
    assert vectors_alone(Numbers(), [Conversation("c", turns)]) == Found(0, 0.0, 0.0)


def test_names_can_be_cut_out_of_what_is_asked() -> None:
    numbers = Numbers()
    turns = (ChatTurn("t", "Ana", "number 1"),)
    vectors_alone(numbers, [Conversation("c", turns, (Question("q", "what did Ana say 1", ("t",)),))], names=False)
    assert numbers.asked == ["what did say 1"]
