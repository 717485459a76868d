"""Zero-shot classification by the BTZSC protocol: the text is the query, each verbalised label a document, argmax.

One number per data set is the macro F1; over several sets, their unweighted mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, f1_score

from cogs.memory.lab.datasets import DatasetError
from cogs.memory.lab.metrics import Calibration, calibration

Scorer = Callable[[str, Sequence[str]], Sequence[float]]
TEXT_FIELDS = ("text", "sentence", "content")
LABEL_FIELDS = ("label", "labels", "class", "target")
NAME_FIELDS = ("label_text", "label_name", "hypothesis", "label_description")


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with the number of their label; ``labels`` are the verbalised labels."""

    name: str
    labels: tuple[str, ...]
    texts: tuple[str, ...]
    gold: tuple[int, ...]


def labelled_texts(name: str, rows: Sequence[Mapping[str, object]]) -> LabelledTexts:
    """Read rows of BTZSC: a text, its label and the label in words.

    Two forms are distributed: one row per text (``text``, ``label``, ``label_text``), and one row per pair of a text
    and a ``hypothesis`` with ``labels`` 0 where it holds, as the NLI-style test sets have it.

    Raises:
        DatasetError: a row has no text or no label.
    """
    if rows and "hypothesis" in rows[0]:
        return _from_pairs(name, rows)
    texts: list[str] = []
    found: list[str] = []
    for number, row in enumerate(rows, 1):
        text = next((row[field] for field in TEXT_FIELDS if isinstance(row.get(field), str)), None)
        label = next((row[field] for field in (*NAME_FIELDS, *LABEL_FIELDS) if row.get(field) is not None), None)
        if text is None or label is None:
            raise DatasetError(f"{name}: row {number} has no text or no label.")
        texts.append(str(text))
        found.append(_in_words(str(label)))
    labels = tuple(sorted(set(found)))
    return LabelledTexts(name, labels, tuple(texts), tuple(labels.index(label) for label in found))


def _from_pairs(name: str, rows: Sequence[Mapping[str, object]]) -> LabelledTexts:
    gold: dict[str, str] = {}
    labels: dict[str, None] = {}
    for number, row in enumerate(rows, 1):
        text, hypothesis = row.get("text"), row.get("hypothesis")
        held = next((row[field] for field in LABEL_FIELDS if row.get(field) is not None), None)
        if not isinstance(text, str) or not isinstance(hypothesis, str) or held is None:
            raise DatasetError(f"{name}: row {number} has no text, hypothesis or label.")
        labels[hypothesis] = None
        # Entailment is class 0 there, as in NLI.
        if str(held) in ("0", "entailment", "True"):
            gold[text] = hypothesis
    order = tuple(labels)
    return LabelledTexts(name, order, tuple(gold), tuple(order.index(hypothesis) for hypothesis in gold.values()))


def _in_words(label: str) -> str:
    return label.replace("_", " ").strip()


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


def read_texts(file: Path) -> list[str]:
    """Return the lines of a file that are not blank.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} cannot be read: {error}.") from error
