"""RerankerService: its contract, its cache, and stopping early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.inference.profiles import MemoryProfile
from cogs.memory.ingest.labels import classify
from cogs.memory.reranker_service import RerankerService
from cogs.memory.rerankers.base import Document, Reranker, Score
from cogs.memory.storage.labels import LabelInfo

SEEN: list[str] = []
SPEC = RerankerSpec("numbers", f"{__name__}:load")


class Numbers(Reranker):
    """Takes the probability from the text, and notes what it was asked to score."""

    scale = "probability"

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        SEEN.extend(document.text for document in documents)
        return [Score(float(document.text), float(document.text)) for document in documents]


def load(spec: RerankerSpec, options: LoadOptions) -> Numbers:
    return Numbers(spec)


def service(**profile: Any) -> RerankerService:
    SEEN.clear()
    return RerankerService(MemoryProfile(name="test", **profile), "numbers", specs={"numbers": SPEC})


def candidates(*numbers: float) -> list[dict[str, Any]]:
    return [{"id": place, "content": str(number), "note": "kept"} for place, number in enumerate(numbers)]


def test_the_result_is_a_new_sorted_list_with_a_score_on_each() -> None:
    given = candidates(0.2, 0.9, 0.5, 0.9)
    found = service().rerank_results("q", given)
    assert [(row["id"], row["rerank_score"]) for row in found] == [(1, 0.9), (3, 0.9), (2, 0.5), (0, 0.2)]
    assert all(row["note"] == "kept" for row in found)
    assert all("rerank_score" not in row for row in given)
    assert [row["id"] for row in service().rerank_results("q", given, top_k=2)] == [1, 3]
    assert service().rerank_results("q", []) == []


def test_what_was_scored_is_not_scored_again_until_its_message_is_forgotten() -> None:
    reranker = service()
    reranker.rerank_results("q", candidates(0.2, 0.9))
    reranker.rerank_results("q", candidates(0.2, 0.9, 0.4))
    assert SEEN == ["0.2", "0.9", "0.4"]
    reranker.cache.drop_messages([1])
    reranker.rerank_results("q", candidates(0.2, 0.9, 0.4))
    reranker.rerank_results("another query", candidates(0.2))
    assert SEEN == ["0.2", "0.9", "0.4", "0.9", "0.2"]


def test_what_is_forgotten_while_it_is_being_scored_does_not_enter_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = service()
    score = Numbers.score

    def forget_meanwhile(self: Numbers, query: str, documents: Sequence[Document]) -> list[Score]:
        found = score(self, query, documents)
        reranker.cache.drop_messages([0])
        return found

    monkeypatch.setattr(Numbers, "score", forget_meanwhile)
    assert [row["id"] for row in reranker.rerank_results("q", candidates(0.2, 0.9))] == [1, 0]
    assert len(reranker.cache) == 0
    monkeypatch.setattr(Numbers, "score", score)
    reranker.rerank_results("q", candidates(0.2, 0.9))
    assert len(reranker.cache) == 2


def test_what_was_forgotten_before_the_scoring_began_does_not_enter_the_cache_either() -> None:
    reranker = service()
    read, drops = candidates(0.2, 0.9), reranker.cache.drops
    reranker.cache.drop_messages([0])
    reranker.rerank_results("q", read, drops=drops)
    assert len(reranker.cache) == 0


def test_a_message_that_is_judged_by_labels_leaves_nothing_in_the_cache() -> None:
    reranker = service()
    labels = [LabelInfo("low", "0.2"), LabelInfo("high", "0.9")]
    assert classify(reranker, "a message", labels) == [0.2, 0.9]
    assert len(reranker.cache) == 0


def test_a_score_among_others_is_that_of_this_list_also_where_each_was_scored_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def shared(self: Numbers, query: str, documents: Sequence[Document], scores: Sequence[Score]) -> list[Score]:
        assert [float(document.text) for document in documents] == [score.raw for score in scores]
        total = sum(score.raw for score in scores)
        return [replace(score, probability=score.raw / total) for score in scores]

    monkeypatch.setattr(Numbers, "among", shared)
    reranker = service()
    few = [row["rerank_score"] for row in reranker.rerank_results("q", candidates(0.2, 0.6))]
    assert few == pytest.approx([0.75, 0.25])
    more = reranker.rerank_results("q", candidates(0.2, 0.6, 0.8), top_k=2)
    assert [row["rerank_score"] for row in more] == pytest.approx([0.5, 0.375])
    again = [row["rerank_score"] for row in reranker.rerank_results("q", candidates(0.2, 0.6))]
    assert again == few
    assert SEEN == ["0.2", "0.6", "0.8"]
    assert reranker.rerank_results("q", []) == []


def test_scoring_stops_when_the_best_are_settled_and_never_unless_asked() -> None:
    falling = candidates(*(round(0.99 - place / 60, 3) for place in range(50)))
    service().rerank_results("q", falling, top_k=5)
    assert len(SEEN) == 50
    eager = service(early_exit=0.05)
    assert [row["id"] for row in eager.rerank_results("q", falling, top_k=5)] == [0, 1, 2, 3, 4]
    assert len(SEEN) == 20
    eager = service(early_exit=0.05)
    eager.rerank_results("q", falling)
    assert len(SEEN) == 50
    rising = candidates(*(round(0.01 + place / 60, 3) for place in range(50)))
    eager = service(early_exit=0.05)
    assert [row["id"] for row in eager.rerank_results("q", rising, top_k=3)] == [49, 48, 47]


def test_an_unknown_name_is_one_sentence() -> None:
    with pytest.raises(RerankerUnavailable, match="models list"):
        RerankerService(MemoryProfile(name="test"), "nobody", specs={"numbers": SPEC})
