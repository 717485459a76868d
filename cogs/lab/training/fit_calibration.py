"""Calibration of a trained cross-encoder: of messages with a probability of 0.7, seven in ten are relevant. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from cogs.memory.rerankers.probabilities import Choice

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The probability is sigmoid((logit + prior_weight · prior + bias) / temperature)."""

    temperature: float
    bias: float
    prior_weight: float

    def probability(self, logits: Floats, priors: Floats) -> Floats:
        """Return probabilities of raw logits and first-stage scores of the same shape."""
        found: Floats = 1 / (1 + np.exp(-(logits + self.prior_weight * priors + self.bias) / self.temperature))
        return found


def fit(
    logits: Floats, priors: Floats, relevant: npt.NDArray[Any], weights: Floats, prior_weight: float
) -> Calibration:
    """Return temperature and bias of least log loss for a given weight of the prior, by Newton's method.

    All arrays have the shape (pairs,); ``weights`` lets every data set count alike. The order of candidates is the
    business of ``prior_weight`` alone: temperature and bias never change it.

    Args:
        logits: the model's, shape (pairs,).
        priors: the first stage's log-odds, shape (pairs,).
        relevant: 1 for relevant pairs, 0 for the others, shape (pairs,).
        weights: of each pair, so that every data set counts alike, shape (pairs,).
        prior_weight: the first stage's share, which alone decides the order of candidates.
    """
    scores = logits + prior_weight * priors
    design = np.stack([scores, np.ones_like(scores)], axis=1)

    def loss(theta: Floats) -> float:
        z = design @ theta
        return float((weights * (np.logaddexp(0.0, z) - relevant * z)).mean())

    share = float(np.clip(np.average(relevant, weights=weights), 1e-6, 1 - 1e-6))
    theta = np.array([0.0, np.log(share / (1 - share))])
    for _ in range(100):
        p = 0.5 * (1 + np.tanh(0.5 * (design @ theta)))
        gradient = design.T @ (weights * (p - relevant)) / len(scores)
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design / len(scores) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        # A full step can overshoot where the probabilities are nearly 0 or 1; half of it until the loss falls.
        size = 1.0
        while loss(theta - size * step) > loss(theta) and size > 1e-6:
            size /= 2
        theta = theta - size * step
        if float(np.abs(step).max()) < 1e-8 or size <= 1e-6:
            break
    slope, offset = float(theta[0]), float(theta[1])
    if slope <= 0:
        raise ValueError("the scores do not rise with relevance, so no temperature makes probabilities of them")
    return Calibration(1.0 / slope, offset / slope, prior_weight)


@dataclass(frozen=True, slots=True)
class Listed:
    """The candidates of one question: scores and relevance, (n,) each; ``weight`` is how much the question counts."""

    scores: Floats
    hits: npt.NDArray[np.bool_]
    weight: float = 1.0


def fit_choice(lists: Sequence[Listed]) -> Choice:
    """Return the choice of least log loss per message over questions with answers and without."""
    longest = max(len(row.scores) for row in lists)
    scores = np.full((len(lists), longest), -np.inf)
    hits = np.zeros((len(lists), longest))
    for number, row in enumerate(lists):
        scores[number, : len(row.scores)], hits[number, : len(row.hits)] = row.scores, row.hits
    real = np.isfinite(scores)
    weights = np.array([row.weight / len(row.scores) for row in lists])

    def loss(theta: Floats) -> float:
        found = shares(scores, float(np.exp(theta[0])), float(theta[1]))
        each = np.where(hits > 0, np.log(found), np.log1p(-found))
        return float(-(np.where(real, each, 0.0).sum(1) * weights).sum() / weights.sum())

    found = minimize(loss, np.array([0.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-7})
    return Choice(float(np.exp(found.x[0])), float(found.x[1]))


def shares(scores: Floats, scale: float, nothing: float) -> Floats:
    """Return :class:`Choice`'s probabilities of many questions, (questions, n); where a score is -inf there is none."""
    exponents = scale * scores
    top = np.maximum(exponents.max(1, keepdims=True), nothing)
    counts = np.exp(exponents - top)
    found: Floats = counts / (counts.sum(1, keepdims=True) + np.exp(nothing - top))
    return np.clip(found, 1e-9, 1 - 1e-9)
