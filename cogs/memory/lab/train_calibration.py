"""Calibration of a trained cross-encoder: what a probability of 0.7 says shall come true seven times in ten. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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


def expected_calibration_error(
    probabilities: Floats, relevant: npt.NDArray[Any], weights: Floats | None = None, bins: int = 15
) -> float:
    """Return the mean gap between probability and frequency over ``bins`` even bins, weighted by their size (ECE)."""
    weights = np.ones_like(probabilities) if weights is None else weights
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    total = 0.0
    for each in range(bins):
        inside = place == each
        if inside.any():
            share = weights[inside]
            gap = np.average(probabilities[inside], weights=share) - np.average(relevant[inside], weights=share)
            total += float(share.sum()) * abs(float(gap))
    return total / float(weights.sum())


def paired_p_value(gains: Sequence[float], rounds: int = 10_000, seed: int = 0) -> float:
    """Return the two-sided p of a paired randomisation test: how often random signs give as large a mean gain."""
    values = np.asarray(gains, dtype=np.float64)
    rng = np.random.default_rng(seed)
    observed = abs(float(values.mean()))
    count = 0
    for start in range(0, rounds, 1000):
        signs = rng.choice((-1.0, 1.0), size=(min(1000, rounds - start), len(values)))
        count += int((np.abs((signs * values).mean(1)) >= observed - 1e-12).sum())
    return (count + 1) / (rounds + 1)
