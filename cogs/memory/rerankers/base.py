"""What every reranker format shares: a document, a score, and the class that renders and scores.

A format is data (an entry of ``config/rerankers.yaml``) plus one small class: render → score → probability.
"""

from __future__ import annotations

import datetime as dt
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec
from cogs.memory.records import PreparedPassage

Scale = Literal["probability", "logit", "log_odds", "difference", "server"]


@dataclass(frozen=True, slots=True)
class Document:
    """A candidate as formats may render it: the text alone, or with who, when, and what kind.

    ``text`` is what is judged. ``start``/``end`` are the times of what it tells of (a message's own time fills
    ``start`` where a format wants one). ``images`` are local files.
    """

    text: str
    author: str | None = None
    channel: str | None = None
    timestamp: dt.datetime | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    kind: Literal["World", "Event", "Observation"] | None = None
    context: str | None = None
    images: tuple[Path, ...] = ()
    message_id: int | None = None
    prior: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A probability in [0, 1] and the model's own number on the format's scale."""

    probability: float
    raw: float
    contribution: str | None = None
    evidence: str | None = None


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def to_probability(raw: float, scale: Scale) -> float:
    """Map a raw score of a declared scale to [0, 1].

    The scale is declared, never guessed: "already in [0, 1]? keep it" reverses mixed logits.

    Raises:
        ValueError: the score is not a number, or lies outside the range of its scale.
    """
    if not math.isfinite(raw):
        raise ValueError(f"a reranker returned {raw!r}, which is no score")
    if scale in ("probability", "server"):
        if not -1e-6 <= raw <= 1 + 1e-6:
            raise ValueError(f"a score of {raw} was declared a probability")
        return min(1.0, max(0.0, raw))
    if scale == "difference":
        if not -1 - 1e-6 <= raw <= 1 + 1e-6:
            raise ValueError(f"a score of {raw} was declared a difference of probabilities")
        return min(1.0, max(0.0, (raw + 1.0) / 2.0))
    return sigmoid(raw)


class Reranker(ABC):
    """One loaded reranker. Not thread-safe: the worker that owns the device calls it."""

    scale: ClassVar[Scale]
    prepares: ClassVar[bool] = False
    """Whether :meth:`prepare` computes something; ingestion calls it then."""
    sees_images: ClassVar[bool] = False
    """Whether the images of messages take part; ingestion fetches them then."""

    uses_prior: bool = False
    """Whether scores depend on ``Document.prior``, the first stage's probability, which is then part of their key."""

    def __init__(self, spec: RerankerSpec) -> None:
        self.spec = spec

    @abstractmethod
    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score ``documents`` for ``query``, in their order; batching is the format's own business.

        An empty ``documents`` gives an empty list; an empty text is scored like any other.
        """

    def among(self, query: str, documents: Sequence[Document], scores: Sequence[Score]) -> list[Score]:
        """Return the scores of all candidates of one question as they are beside each other; most formats know no such
        thing and return them as they are."""
        return list(scores)

    def explain(self, query: str, documents: Sequence[Document], scores: Sequence[Score]) -> list[Score]:
        """Add contribution and evidence to the documents that matter, where the format generates them."""
        return list(scores)

    @property
    def passage_form(self) -> str:
        """What the keys of this format's passages begin with: the model, its revision and the form of the passages."""
        return ""

    def prepare(self, documents: Sequence[Document]) -> list[PreparedPassage]:
        """Compute what does not depend on a query, one passage for each document; most formats have no such thing."""
        return []

    def close(self) -> None:
        """Free the model's memory; the object is not used afterwards."""


Loader = Callable[[RerankerSpec, LoadOptions], Reranker]
