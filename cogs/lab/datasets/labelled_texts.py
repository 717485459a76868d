"""Labelled texts out of files, for measuring zero-shot classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cogs.lab.datasets.dataset import DatasetError
from cogs.memory.errors import BadRequest
from cogs.memory.text.bounds import MOST_LABELS

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


def read_texts(file: Path) -> list[str]:
    """Return the lines of a file that are not blank.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} cannot be read: {error}.") from error


def parsed_labels(given: Sequence[str]) -> dict[str, str]:
    """Map each label's name to the sentence that is judged; without one, the name itself.

    Raises:
        BadRequest: there are fewer than two labels, too many, or one has no name.
    """
    labels: dict[str, str] = {}
    for entry in given:
        name, _, sentence = (part.strip() for part in entry.partition("="))
        if not name or name in labels:
            raise BadRequest(f"The label {entry!r} has no name of its own.")
        labels[name] = sentence or name
    if not 2 <= len(labels) <= MOST_LABELS:
        raise BadRequest(f"Give 2 to {MOST_LABELS} labels, each with --label.")
    return labels
