"""The metrics against values worked out by hand."""

from __future__ import annotations

import math
import random

import pytest

from cogs.lab.evaluation.metrics import bootstrap, calibration, compare, ece_by_chance, means, per_query

QRELS = {"q1": {"a": 1, "c": 1, "x": 0}, "q2": {"b": 1}, "nothing": {"a": 0}}


def test_metrics_of_a_ranking_are_those_of_the_definitions() -> None:
    found = per_query(QRELS, {"q1": ["b", "a", "x", "c"], "q2": ["b"]})
    assert found.keys() == {"q1", "q2"}, "a query without anything relevant is left out of the means"
    assert found["q1"]["MAP"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found["q1"]["NDCG@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3)))
    assert found["q1"]["MRR@10"] == pytest.approx(0.5)
    assert found["q1"]["accuracy@1"] == 0
    assert found["q1"]["hit@10"] == found["q1"]["R@50"] == 1
    assert means(found)["accuracy@1"] == pytest.approx(0.5)


def test_a_query_that_found_nothing_counts_as_zero() -> None:
    found = per_query(QRELS, {"q1": [], "q2": ["b"]})
    assert means(found)["MAP"] == pytest.approx(0.5)
    assert means(per_query(QRELS, {}))["R@50"] == 0


def test_the_order_decides_and_never_the_ids() -> None:
    # trec_eval breaks ties of scores by id: equal-looking scores must not reach it.
    for ids in (["a", "z"], ["z", "a"]):
        assert per_query({"q": {ids[0]: 1}}, {"q": ids})["q"]["MAP"] == 1


def test_recall_is_cut_at_fifty_and_capped_recall_at_ten() -> None:
    ranking = [f"m{i}" for i in range(60)]
    found = per_query({"q": {f"m{i}": 1 for i in range(20)} | {"m55": 1}}, {"q": ranking})["q"]
    assert found["R@50"] == pytest.approx(20 / 21)
    assert found["R@10"] == pytest.approx(10 / 21)
    assert found["R_cap@10"] == 1


def test_the_interval_holds_the_mean_and_narrows_with_more_queries() -> None:
    few, many = bootstrap([0.0, 1.0] * 10), bootstrap([0.0, 1.0] * 1000)
    assert few.low < 0.5 < few.high
    assert many.high - many.low < (few.high - few.low) / 3
    with pytest.raises(ValueError, match="nothing"):
        bootstrap([])


def test_the_paired_test_tells_a_real_gain_from_noise() -> None:
    before = {f"q{i}": (i % 7) / 7 for i in range(60)}
    better = {query: value + 0.05 for query, value in before.items()}
    noise = {query: value + (0.05 if i % 2 else -0.05) for i, (query, value) in enumerate(before.items())}
    assert compare(before, better).p_value < 0.01
    assert compare(before, better).difference.mean == pytest.approx(0.05)
    assert compare(before, noise).p_value > 0.2
    same = compare(before, before)
    assert (same.p_value, same.wins, same.losses) == (1.0, 0, 0)
    with pytest.raises(ValueError, match="in common"):
        compare({"a": 1.0}, {"b": 1.0})


def test_calibration_of_an_honest_and_of_a_boasting_reranker() -> None:
    honest = calibration([0.8] * 10, [True] * 8 + [False] * 2)
    boasting = calibration([0.99] * 10, [True] * 5 + [False] * 5)
    assert honest.ece == pytest.approx(0)
    assert boasting.ece == pytest.approx(0.49)
    assert sum(calibration([0.0, 1.0, 0.5], [False, True, True]).count) == 3


def test_few_messages_show_an_error_by_chance_and_many_hardly_any() -> None:
    rng = random.Random(4)
    few, many = ([rng.random() for _ in range(count)] for count in (60, 20_000))
    mean, most = ece_by_chance(few)
    assert 0.05 < mean < most < 0.3
    assert ece_by_chance(many)[1] < 0.02
    assert ece_by_chance([0.0] * 10 + [1.0] * 10) == (0.0, 0.0)
    honest = [calibration(few, [rng.random() < p for p in few]).ece for _ in range(100)]
    assert 85 <= sum(ece < most for ece in honest) <= 100
