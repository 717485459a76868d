"""Metrics of a ranking through ``ir_measures``, with bootstrap intervals and a paired test between two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ir_measures
import numpy as np
import numpy.typing as npt
from ir_measures import AP, RR, P, R, Success, nDCG
from scipy import stats

Qrels = Mapping[str, Mapping[str, int]]
Rankings = Mapping[str, Sequence[str]]
PerQuery = dict[str, dict[str, float]]

MEASURES: dict[str, Any] = {
    "MAP": AP,
    "NDCG@10": nDCG @ 10,
    "R@50": R @ 50,
    "hit@10": Success @ 10,
    "MRR@10": RR @ 10,
    "accuracy@1": P @ 1,
    "hit@1": Success @ 1,
    "hit@5": Success @ 5,
    "R@10": R @ 10,
}
HEADLINE = ("MAP", "NDCG@10", "R@50", "hit@10", "MRR@10", "accuracy@1")
CAPPED = "R_cap@10"
ROUNDS = 2000
_FLAT = P @ 10


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over queries with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def per_query(qrels: Qrels, rankings: Rankings) -> PerQuery:
    """Return ``{query: {metric: value}}`` for every query with a relevant message; one without a ranking scores 0.

    Args:
        qrels: ``{query: {message: relevance}}``.
        rankings: ``{query: message ids, best first}``; what is not in the list was not found.
    """
    judged = {q: dict(rows) for q, rows in qrels.items() if any(score > 0 for score in rows.values())}
    # Scores are places, so that no tie is broken by the order of ids.
    run = {q: {m: float(len(found) - i) for i, m in enumerate(found)} for q in judged if (found := rankings.get(q))}
    names = {measure: name for name, measure in MEASURES.items()}
    values: PerQuery = {q: dict.fromkeys((*MEASURES, CAPPED), 0.0) for q in judged}
    if not run:
        return values
    for metric in ir_measures.iter_calc([*MEASURES.values(), _FLAT], {q: judged[q] for q in run}, run):
        if metric.measure in names:
            values[metric.query_id][names[metric.measure]] = float(metric.value)
        if metric.measure == _FLAT:
            relevant = sum(score > 0 for score in judged[metric.query_id].values())
            values[metric.query_id][CAPPED] = float(metric.value) * 10 / min(10, relevant)
    return values


def means(values: PerQuery, metrics: Sequence[str] = HEADLINE) -> dict[str, float]:
    """Return the mean of each metric over queries; 0 where there are none."""
    if not values:
        return dict.fromkeys(metrics, 0.0)
    return {metric: float(np.mean([row[metric] for row in values.values()])) for metric in metrics}


def bootstrap(samples: Sequence[float] | npt.NDArray[np.float64], rounds: int = ROUNDS, seed: int = 0) -> Interval:
    """Return the mean of ``samples`` and its 95 % percentile bootstrap interval.

    Raises:
        ValueError: there is no sample.
    """
    values = np.asarray(samples, dtype=np.float64)
    if not len(values):
        raise ValueError("there is nothing to average")
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, mean, mean)  # one observation says nothing about how much observations differ
    interval = stats.bootstrap(
        (values,), np.mean, n_resamples=rounds, batch=100, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(mean, float(interval.low), float(interval.high))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a run differs from another on the same queries: ``difference`` is the second minus the first.

    ``p_value`` is of a two-sided paired permutation test (signs of the differences exchanged at random).
    """

    queries: int
    difference: Interval
    p_value: float
    wins: int
    losses: int


def compare(first: Mapping[str, float], second: Mapping[str, float], rounds: int = 9999, seed: int = 0) -> Comparison:
    """Compare one metric of two runs query by query.

    Raises:
        ValueError: the runs have no query in common.
    """
    common = sorted(first.keys() & second.keys())
    if not common:
        raise ValueError("the two runs have no query in common")
    gain = np.array([second[q] - first[q] for q in common], dtype=np.float64)
    p_value = 1.0
    if np.any(gain != 0):
        test = stats.permutation_test(
            (gain,), np.mean, permutation_type="samples", n_resamples=rounds, batch=500, rng=np.random.default_rng(seed)
        )
        p_value = float(test.pvalue)
    return Comparison(len(common), bootstrap(gain, seed=seed), p_value, int((gain > 0).sum()), int((gain < 0).sum()))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error of probabilities, and the bins of the reliability plot.

    ``confidence``, ``accuracy`` and ``count`` have one entry per bin that holds anything.
    """

    ece: float
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    count: tuple[int, ...]


def calibration(probabilities: Sequence[float], relevant: Sequence[bool], bins: int = 15) -> Calibration:
    """Measure the calibration of probabilities in [0, 1] in ``bins`` bins of equal width.

    Raises:
        ValueError: there are no probabilities, or their number differs from the number of labels.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    y = np.asarray(relevant, dtype=np.float64)
    if len(p) != len(y) or not len(p):
        raise ValueError("calibration needs probabilities with one label each")
    place = np.minimum((p * bins).astype(int), bins - 1)
    confidence, accuracy, count = [], [], []
    for number in np.unique(place):
        chosen = place == number
        confidence.append(float(p[chosen].mean()))
        accuracy.append(float(y[chosen].mean()))
        count.append(int(chosen.sum()))
    ece = sum(n * abs(c - a) for n, c, a in zip(count, confidence, accuracy, strict=True)) / len(p)
    return Calibration(float(ece), tuple(confidence), tuple(accuracy), tuple(count))


def ece_by_chance(probabilities: Sequence[float], rounds: int = 200, seed: int = 0) -> tuple[float, float]:
    """Return the calibration error (ECE) that perfectly calibrated probabilities show by chance.

    Labels are drawn from the probabilities, each independently, ``rounds`` times. Returned are the mean of the draws'
    errors and their 95th percentile: an error below that is no sign of bad calibration.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    rng = np.random.default_rng(seed)
    drawn = [calibration(probabilities, (rng.random(len(p)) < p).tolist()).ece for _ in range(rounds)]
    return float(np.mean(drawn)), float(np.percentile(drawn, 95))
