"""Merging fine-tuned checkpoints of one base: SLERP on task vectors, in sequence, with a search over t and λ.

On task vectors v = θ − θ0 with the angle α between them, V = sin((1−t)α)/sin α · v_i + sin(tα)/sin α · v_j and
θ = θ0 + λV; a plain mixture where sin α is near 0 (equal, opposite or empty vectors). Source: Querit-Reranker,
arXiv 2606.19037; lychee-rerank merges its task models the same way after a search of about 100 steps.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Weights = Mapping[str, torch.Tensor]
NEARLY_PARALLEL = 1e-4


@dataclass(frozen=True, slots=True)
class MergeStep:
    """One merge of a search: how far from the first to the second (``t``), the length (``scale``, λ), and its score."""

    t: float
    scale: float
    score: float


def task_vector(weights: Weights, base: Weights) -> dict[str, torch.Tensor]:
    """Return what fine-tuning added to each floating tensor, in float32.

    Raises:
        ValueError: the two do not hold the same tensors.
    """
    if weights.keys() != base.keys() or any(weights[name].shape != base[name].shape for name in base):
        raise ValueError("only checkpoints of the same architecture can be merged: their tensors differ")
    return {name: weights[name].float() - base[name].float() for name in base if base[name].is_floating_point()}


def slerp(first: Weights, second: Weights, t: float) -> dict[str, torch.Tensor]:
    """Return the vector at ``t`` in [0, 1] on the arc from ``first`` (t = 0) to ``second`` (t = 1), over all tensors.

    The angle is that of the two whole vectors. Where they are parallel, opposite or empty, the straight line is taken.
    """
    if not 0.0 <= t <= 1.0:
        raise ValueError(f"t must lie between 0 and 1, not {t}")
    product = sum(float((first[name].double() * second[name].double()).sum()) for name in first)
    lengths = [math.sqrt(sum(float(v.double().square().sum()) for v in each.values())) for each in (first, second)]
    a, b = 1.0 - t, t
    if min(lengths) > 0.0:
        alpha = math.acos(max(-1.0, min(1.0, product / (lengths[0] * lengths[1]))))
        if math.sin(alpha) > NEARLY_PARALLEL:
            a, b = math.sin((1 - t) * alpha) / math.sin(alpha), math.sin(t * alpha) / math.sin(alpha)
    return {name: a * first[name] + b * second[name] for name in first}


def apply_vector(base: Weights, vector: Weights, scale: float) -> dict[str, torch.Tensor]:
    """Return base + ``scale`` · vector in the base's own types; tensors without a vector stay as they are."""
    return {
        name: (tensor.float() + scale * vector[name]).to(tensor.dtype) if name in vector else tensor.clone()
        for name, tensor in base.items()
    }


def mean_weights(models: Sequence[Weights]) -> dict[str, torch.Tensor]:
    """Return the plain mean of checkpoints that were trained from one base, in the first one's types.

    Raises:
        ValueError: there is no model, or they do not hold the same tensors.
    """
    if not models:
        raise ValueError("a mean takes at least one model")
    if any(model.keys() != models[0].keys() for model in models) or any(
        model[name].shape != tensor.shape for model in models for name, tensor in models[0].items()
    ):
        raise ValueError("only checkpoints of the same architecture can be averaged: their tensors differ")
    return {
        name: torch.stack([model[name].float() for model in models]).mean(0).to(tensor.dtype)
        for name, tensor in models[0].items()
    }


def search_merge(
    base: Weights,
    models: Sequence[Weights],
    score: Callable[[dict[str, torch.Tensor]], float],
    *,
    steps: int = 100,
    scales: Sequence[float] = (0.6, 0.8, 1.0, 1.2),
    seed: int = 0,
) -> tuple[dict[str, torch.Tensor], list[list[MergeStep]]]:
    """Return the best merge on a development set, and every step tried for each model that joined.

    Models join one at a time. For each, a grid of t and λ is tried first, then points drawn around the best one,
    about ``steps`` in all. A model that helps nobody is left out: t = 0 is part of the grid.

    Args:
        base: the weights that all models were trained from.
        models: the trained weights, in the order in which they join.
        score: how good merged weights are on the development set; higher is better.
        steps: merges that are tried, in all.
        scales: the values of λ, by which the task vector is multiplied, in the first grid.
        seed: of the points that are drawn.
    """
    if not models:
        raise ValueError("a merge takes at least one model")
    rng = random.Random(seed)
    vector, scale = task_vector(models[0], base), 1.0
    history: list[list[MergeStep]] = []
    for model in models[1:]:
        other = task_vector(model, base)
        budget = max(4, steps // (len(models) - 1))
        points = list(itertools.product((0.0, 0.25, 0.5, 0.75, 1.0), scales))
        points = points if len(points) <= budget * 2 // 3 else rng.sample(points, budget * 2 // 3)
        points = [(0.0, 1.0), *(point for point in points if point != (0.0, 1.0))]
        tried: list[MergeStep] = []
        for place in range(budget):
            if place < len(points):
                t, size = points[place]
            else:
                best = max(tried, key=lambda step: step.score)
                t = min(1.0, max(0.0, rng.gauss(best.t, 0.1)))
                size = min(1.6, max(0.2, rng.gauss(best.scale, 0.1)))
            tried.append(MergeStep(t, size, score(apply_vector(base, slerp(vector, other, t), size))))
        best = max(tried, key=lambda step: step.score)
        vector, scale = slerp(vector, other, best.t), best.scale
        history.append(tried)
    return apply_vector(base, vector, scale), history
