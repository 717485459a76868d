"""The losses of the recipes, on logits and labels of shape (lists, width); padding is masked by ``real``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

LossName = Literal["bce", "margin", "gap-margin", "infonce", "prism"]
LOSSES: Final[tuple[LossName, ...]] = ("bce", "margin", "gap-margin", "infonce", "prism")
Floats = npt.NDArray[np.float64]


def ranking_loss(
    name: LossName,
    logits: torch.Tensor,
    labels: torch.Tensor,
    real: torch.Tensor,
    *,
    margin: float = 1.0,
    temperature: float = 1.0,
) -> torch.Tensor:
    """Return one recipe's loss, a scalar.

    ``bce``: binary cross-entropy with logits against labels in [0, 1] (LycheeMem, MemReranker). ``margin``: every
    better document must lead every worse one by ``margin`` (Hindsight). ``gap-margin``: by ``margin`` times the gap
    of their labels (Querit). ``infonce``: the softmax of a list at ``temperature`` puts its mass where the labels are
    (MemReranker's second stage). ``prism``: 10 times the squared error of the probability (Prism's score term).

    Args:
        name: which loss.
        logits: shape (lists, documents).
        labels: in [0, 1], of the same shape.
        real: false for padding, of the same shape.
        margin: of the margin losses.
        temperature: of the softmax over a list.

    Raises:
        ValueError: there is no loss of this name.
    """
    if name == "bce":
        return functional.binary_cross_entropy_with_logits(logits[real], labels[real])
    if name == "prism":
        return 10.0 * functional.mse_loss(logits[real].sigmoid(), labels[real])
    if name == "infonce":
        log_probabilities = (logits / temperature).masked_fill(~real, -1e4).log_softmax(1)
        target = labels.masked_fill(~real, 0.0)
        weight = target / target.sum(1, keepdim=True).clamp_min(1e-6)
        return -(weight * log_probabilities).sum(1).mean()
    if name not in ("margin", "gap-margin"):
        raise ValueError(f"unknown loss {name!r}: choose one of {', '.join(LOSSES)}")
    gap = labels.unsqueeze(2) - labels.unsqueeze(1)
    pairs = (gap > 1e-6) & real.unsqueeze(2) & real.unsqueeze(1)
    if not bool(pairs.any()):
        return logits.sum() * 0.0
    lead = logits.unsqueeze(2) - logits.unsqueeze(1)
    wanted = margin * (gap if name == "gap-margin" else torch.ones_like(gap))
    return functional.relu(wanted - lead)[pairs].mean()


def binned(values: Sequence[float], bins: int) -> tuple[float, ...]:
    """Return each value of [0, 1] as the nearest of ``bins`` evenly spaced levels, 0 and 1 among them."""
    return tuple(round(min(1.0, max(0.0, value)) * (bins - 1)) / (bins - 1) for value in values)


def bradley_terry(wins: Floats, rounds: int = 200) -> Floats:
    """Return the log-strengths of items from ``wins[i, j]``, how often i beat j (half for a draw); their mean is 0.

    Hunter's minorisation-maximisation (2004), with half a win added each way so that an item that never won, or never
    lost, keeps a finite strength. Shape (n, n) → (n,).
    """
    count = len(wins)
    if count < 2:
        return np.zeros(count)
    smoothed = wins + 0.5 * (1 - np.eye(count))
    games = smoothed + smoothed.T
    strength = np.ones(count)
    for _ in range(rounds):
        strength = smoothed.sum(1) / (games / (strength[:, None] + strength[None, :])).sum(1)
        strength /= np.exp(np.log(strength).mean())
    found: Floats = np.log(strength)
    return found


def soft_labels(strengths: Floats, levels: int = 5) -> tuple[float, ...]:
    """Return log-strengths as ``levels`` soft labels in [0, 1]: the chance to beat the middle of the list, binned."""
    if not len(strengths):
        return ()
    chances = 1 / (1 + np.exp(-(strengths - np.median(strengths))))
    span = float(chances.max() - chances.min())
    scaled: Any = (chances - chances.min()) / span if span > 1e-9 else np.full(len(chances), 0.5)
    return binned([float(value) for value in scaled], levels)


def listwise_loss(
    logits: torch.Tensor,
    teacher: torch.Tensor,
    *,
    pointwise_weight: float = 0.2,
    teacher_weight: float = 0.1,
    teacher_temperature: float = 0.1,
) -> torch.Tensor:
    """Return the loss of logits (lists, width), evidence in column 0; padding has a teacher score of -inf.

    Softmax over each list, plus binary cross-entropy that keeps the scale the same between questions, plus the
    divergence from the first stage's own order, which teaches what words in common are worth.

    Args:
        logits: shape (lists, documents), the evidence in column 0.
        teacher: the first stage's scores of the same shape; -inf for padding.
        pointwise_weight: the share of the binary cross-entropy.
        teacher_weight: the share of the divergence from the teacher.
        teacher_temperature: of the softmax over the teacher's scores.
    """
    real = torch.isfinite(teacher)
    masked = logits.masked_fill(~real, -1e4)
    log_probabilities = masked.log_softmax(1)
    loss = -log_probabilities[:, 0].mean()
    target = torch.zeros_like(logits)
    target[:, 0] = 1.0
    loss = loss + pointwise_weight * functional.binary_cross_entropy_with_logits(logits[real], target[real])
    soft = (teacher / teacher_temperature).masked_fill(~real, -1e4).softmax(1)
    divergence = functional.kl_div(log_probabilities, soft, reduction="none").masked_fill(~real, 0.0)
    return loss + teacher_weight * divergence.sum(1).mean()
