"""Calibration of a trained cross-encoder: what a probability of 0.7 says shall come true seven times in ten. Pure."""

from __future__ import annotations

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
