"""The early exit: what it leaves out could not have mattered by more than the tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogs.memory.rerankers.base import Document, Reranker, RerankerSpec, Scale, Score
from cogs.memory.rerankers.early_exit import score_until_settled


class Known(Reranker):
    """Reads the score off the document."""

    scale: ClassVar[Scale] = "probability"

    def __init__(self) -> None:
        super().__init__(RerankerSpec("known", "known"))
        self.scored = 0

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        self.scored += len(documents)
        return [Score(float(document.text), float(document.text)) for document in documents]


probabilities = st.lists(st.one_of(st.floats(0, 1), st.floats(0.9, 1)), max_size=40)


@given(probabilities, st.integers(1, 10), st.floats(0, 1), st.integers(1, 12))
def test_no_place_of_the_top_is_off_by_more_than_the_tolerance(
    values: list[float], top_k: int, tolerance: float, step: int
) -> None:
    documents = [Document(repr(value)) for value in values]
    found = score_until_settled(Known(), "q", documents, top_k=top_k, tolerance=tolerance, step=step)
    assert len(found) == len(values)
    kept = sorted((score.probability for score in found if score is not None), reverse=True)[:top_k]
    full = sorted(values, reverse=True)[:top_k]
    assert len(kept) == len(full)
    for ours, best in zip(kept, full, strict=True):
        assert best - ours <= tolerance + 1e-12
    scored = [score is not None for score in found]
    assert scored == sorted(scored, reverse=True), "only the end is left out"


def test_it_stops_as_soon_as_it_may_and_not_before() -> None:
    reranker = Known()
    documents = [Document(text) for text in ["0.99", "0.2", "0.98", "0.5", "0.999", "0.1"]]
    found = score_until_settled(reranker, "q", documents, top_k=2, tolerance=0.02, step=1)
    assert reranker.scored == 3
    assert found[3:] == [None] * 3
    reranker = Known()
    assert None not in score_until_settled(reranker, "q", documents, top_k=2, tolerance=0.0, step=2)
    assert reranker.scored == 6


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"step": 0}, {"tolerance": -0.1}, {"tolerance": 1.1}])
def test_senseless_settings_are_errors(wrong: dict[str, float]) -> None:
    values = {"top_k": 1, "tolerance": 0.1, "step": 1, **wrong}
    with pytest.raises(ValueError, match="early exit"):
        score_until_settled(Known(), "q", [], **values)  # type: ignore[arg-type]
