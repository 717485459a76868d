"""Calibrate a shipped cross-encoder: ``python bot.py calibrate MODEL DATASET…``.

The product itself asks every question of the data sets with the uncalibrated model, and once more in a channel that
holds no answer. Three things are fitted. The weight of the first stage's probability: of those that cost no data set
more than one point of MAP, the one with the largest mean gain. Temperature and bias, for a text that is judged alone:
those of least log loss. The softmax over the candidates of a question ("choice" in the model's file): that of least
log loss.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import yaml

from cogs.lab.datasets.dataset import Dataset
from cogs.lab.evaluation.metrics import calibration
from cogs.lab.evaluation.run import Options, Progress, Scored, evaluate
from cogs.lab.training.fit_calibration import Calibration, Listed, fit, fit_choice
from cogs.memory.errors import BadRequest
from cogs.memory.rerankers.probabilities import Choice, growth, log_odds
from config.settings import Settings

Floats = npt.NDArray[np.float64]
Run = Mapping[str, Sequence["Asked"]]
WEIGHTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
TOLERANCE: Final = 0.01
"""What a set may lose of MAP against the first stage's order for the good of the others."""
UNANSWERED: Final = 0.25
"""How many of the questions that people ask have no answer in what they may read: an assumption, not a measurement."""
USUAL_WORDS: Final = 20.0
"""Above so many words in the mean the prior weighs more. Chosen on two sets of long messages; 15 to 30 do as well."""
NAME: Final = "calibrated"


@dataclass(frozen=True)
class Asked:
    """The candidates of one question in the first stage's order: logits, log-odds of the prior, relevance; (n,) each.

    The log-odds are as much larger as the prior weighs more among long messages. ``relevant`` is how many relevant
    messages there are in all.
    """

    logits: Floats
    priors: Floats
    hits: npt.NDArray[np.bool_]
    relevant: int

    @classmethod
    def of(cls, scored: Scored) -> Asked:
        """Take what an evaluation noted of one question."""
        rows = sorted(scored.candidates, key=lambda row: -row.prior)
        more = growth([row.words for row in rows], USUAL_WORDS)
        return cls(
            np.array([row.raw for row in rows], dtype=np.float64),
            more * np.array([log_odds(row.prior) for row in rows], dtype=np.float64),
            np.array([row.relevant for row in rows], dtype=bool),
            scored.relevant,
        )

    def average_precision(self, weight: float | None) -> float:
        """Return the average precision over the candidates; ``None`` is the first stage's own order."""
        order = np.arange(len(self.hits))
        if weight is not None:
            order = np.argsort(-(self.logits + weight * self.priors), kind="stable")
        hits = self.hits[order]
        return float((hits * np.cumsum(hits) / np.arange(1, len(hits) + 1)).sum() / self.relevant)


@dataclass(frozen=True)
class Calibrated:
    """What was chosen, and how it does.

    ``gains`` maps a weight to the mean gain of MAP over the first stage by set; ``held_out_gains`` is each set's gain
    at the weight that the other sets choose; ``held_out_ece`` each set's calibration error where only the other half
    of the questions was fitted, ``held_out_ece_together`` that of all their messages together. ``unanswered`` is the
    mean of what the candidates of a question that has no answer get together, by set; 0 would be right.
    """

    chosen: Calibration
    choice: Choice
    gains: Mapping[float, Mapping[str, float]]
    held_out_gains: Mapping[str, float]
    held_out_ece: Mapping[str, float]
    held_out_ece_together: float
    unanswered: Mapping[str, float]


def elsewhere(dataset: Dataset) -> Dataset:
    """Return the set with every question asked in another channel, where nobody answered it: as far away as can be."""
    channels = list(dict.fromkeys(message.channel for message in dataset.messages))
    if len(channels) < 2:
        return replace(dataset, queries=())
    far = {channel: channels[(n + len(channels) // 2) % len(channels)] for n, channel in enumerate(channels)}
    return replace(
        dataset, queries=tuple(replace(q, channel=far[q.channel]) for q in dataset.queries if q.channel in far)
    )


async def ask(settings: Settings, model: Path, dataset: Dataset, limit: int | None, say: Progress) -> list[Asked]:
    """Let the product ask the questions of a set, ``limit`` of them, with the model as if it were not calibrated.

    Args:
        settings: the product's settings.
        model: the folder of the model.
        dataset: the questions and their channels.
        limit: how many questions are asked at most; ``None`` for all.
        say: called with one sentence for each step, for a progress line.
    """
    about = json.loads((model / "mneme.json").read_text(encoding="utf-8"))
    about.pop("choice", None)
    with TemporaryModel(model, about | {"temperature": 1.0, "bias": 0.0, "prior_weight": 0.0}) as table:
        own = settings.model_copy(update={"rerankers_file": table})
        found = await evaluate(own, dataset, Options("cpu", NAME, limit=limit), say)
        return [Asked.of(row) for row in found.scored]


class TemporaryModel:
    """A folder with the model's files and another ``mneme.json``, and a ``rerankers.yaml`` that names it."""

    def __init__(self, model: Path, about: Mapping[str, Any]) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="mneme-calibrate-")
        self.folder = Path(self._scratch.name)
        self._joint = (model / "lower.onnx").is_file()
        for file in model.iterdir():
            if file.is_file() and file.name != "mneme.json":
                (self.folder / file.name).symlink_to(file.resolve())
        (self.folder / "mneme.json").write_text(json.dumps(dict(about)), encoding="utf-8")

    def __enter__(self) -> Path:
        entry = {
            "format": "joint" if self._joint else "onnx-cross-encoder",
            "id": str(self.folder),
            "max_length": 512,
            "options": {"score_field": "content"},
        }
        table = self.folder / "rerankers.yaml"
        table.write_text(yaml.safe_dump({NAME: entry}), encoding="utf-8")
        return table

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()


def choose(run: Run, weight: float | None = None, unanswered: Run | None = None) -> Calibrated:
    """Choose the prior's weight (unless given), fit the rest, and say how it does; every set counts alike.

    ``unanswered`` are the same sets' questions where they have no answer.

    Raises:
        BadRequest: a set has no question with a relevant candidate.
    """
    for name, rows in run.items():
        if not any(row.hits.any() for row in rows):
            raise BadRequest(f"{name} has no question whose answer is among the candidates.")
    gains = {
        each: {
            name: float(np.mean([row.average_precision(each) - row.average_precision(None) for row in rows]))
            for name, rows in run.items()
        }
        for each in WEIGHTS
    }

    def best(names: Sequence[str]) -> float:
        harmless = [each for each in WEIGHTS if min(gains[each][name] for name in names) >= -TOLERANCE]
        return max(harmless or WEIGHTS, key=lambda each: float(np.mean([gains[each][name] for name in names])))

    final = best(list(run)) if weight is None else weight
    others = {name: [other for other in run if other != name] or [name] for name in run}
    nothing = unanswered or {}
    ece: dict[str, list[float]] = {name: [] for name in run}
    together: list[tuple[Choice, Asked]] = []
    for half in (0, 1):
        choice = _fit_choice(_half(run, half), _half(nothing, half), final)
        for name, rows in run.items():
            ece[name].append(_ece(choice, rows[1 - half :: 2], final))
            together += [(choice, row) for row in rows[1 - half :: 2]]
    held_out = {name: gains[best(rest)][name] for name, rest in others.items()}
    whole = _fit_choice(run, nothing, final)
    return Calibrated(
        _fit(run, final),
        whole,
        gains,
        held_out,
        {name: float(np.mean(found)) for name, found in ece.items()},
        _error([(_said(choice, row, final), row.hits) for choice, row in together]),
        {n: float(np.mean([_said(whole, row, final).sum() for row in rows])) for n, rows in nothing.items() if rows},
    )


def _half(run: Run, number: int) -> Run:
    return {name: rows[number::2] for name, rows in run.items()}


def _fit_choice(run: Run, unanswered: Run, weight: float) -> Choice:
    lists = []
    for kind, share in ((run, 1.0 - UNANSWERED), (unanswered, UNANSWERED)):
        for rows in kind.values():
            lists += [Listed(row.logits + weight * row.priors, row.hits, share / len(rows)) for row in rows]
    return fit_choice(lists)


def _said(choice: Choice, row: Asked, weight: float) -> Floats:
    return np.array(choice.probabilities((row.logits + weight * row.priors).tolist()))


def _stack(rows: Sequence[Asked]) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    return (
        np.concatenate([row.logits for row in rows]),
        np.concatenate([row.priors for row in rows]),
        np.concatenate([row.hits for row in rows]),
    )


def _fit(run: Run, weight: float) -> Calibration:
    parts = [_stack(rows) for rows in run.values()]
    shares = np.concatenate([np.full(len(logits), 1.0 / len(logits)) for logits, _, _ in parts])
    logits, priors, hits = (np.concatenate(column) for column in zip(*parts, strict=True))
    return fit(logits, priors, hits, shares / shares.mean(), weight)


def _ece(choice: Choice, rows: Sequence[Asked], weight: float) -> float:
    return _error([(_said(choice, row, weight), row.hits) for row in rows])


def _error(pairs: Sequence[tuple[Floats, npt.NDArray[np.bool_]]]) -> float:
    said, true = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return calibration(said.tolist(), true.tolist()).ece


def write(model: Path, found: Calibrated, max_length: int | None = None) -> None:
    """Put what was chosen into the model's ``mneme.json``."""
    file = model / "mneme.json"
    about = json.loads(file.read_text(encoding="utf-8"))
    rounded: dict[str, Any] = {name: round(value, 4) for name, value in asdict(found.chosen).items()}
    digests = {name: about.pop(name) for name in list(about) if name.endswith("_sha256")}
    rounded["usual_words"] = USUAL_WORDS
    rounded["choice"] = {name: round(value, 4) for name, value in asdict(found.choice).items()}
    about |= rounded | ({} if max_length is None else {"max_length": max_length}) | digests
    file.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
