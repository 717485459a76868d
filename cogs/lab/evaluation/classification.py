"""Zero-shot classification by the BTZSC protocol: the text is the query, each verbalised label a document, argmax.

One number per data set is the macro F1; over several sets, their unweighted mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, f1_score

from cogs.lab.datasets.dataset import DatasetError
from cogs.lab.datasets.labelled_texts import LabelledTexts
from cogs.lab.evaluation.metrics import Calibration, calibration

Scorer = Callable[[str, Sequence[str]], Sequence[float]]


@dataclass(frozen=True)
class ClassificationResult:
    """``probabilities`` has the shape (texts, labels)."""

    probabilities: npt.NDArray[np.float64]
    accuracy: float
    macro_f1: float
    calibration: Calibration


def evaluate_classification(data: LabelledTexts, score: Scorer) -> ClassificationResult:
    """Score every label for every text.

    Args:
        data: The texts.
        score: Returns the probability of each label for a text.

    Raises:
        DatasetError: there is no text, or only one label.
    """
    if not data.texts or len(data.labels) < 2:
        raise DatasetError(f"{data.name} has no texts or fewer than two labels, so there is nothing to tell apart.")
    probabilities = np.array([list(score(text, data.labels)) for text in data.texts], dtype=np.float64)
    best = probabilities.argmax(1)
    return ClassificationResult(
        probabilities,
        float(accuracy_score(data.gold, best)),
        macro_f1(data.gold, best.tolist()),
        calibration(probabilities.max(1).tolist(), (best == np.array(data.gold)).tolist()),
    )


def macro_f1(gold: Sequence[int], predicted: Sequence[int]) -> float:
    """Return the mean F1 of the classes that occur in ``gold`` or were predicted."""
    return float(f1_score(gold, predicted, average="macro", zero_division=0.0))
