"""What every reranker format shares: a document, a score, and the class that renders and scores.

A format is data (an entry of ``config/rerankers.yaml``) plus one small class: render → score → probability.
"""

from __future__ import annotations

import datetime as dt
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

Scale = Literal["probability", "logit", "log_odds", "difference", "server"]


class RerankerUnavailable(RuntimeError):
    """A reranker cannot be used here; the message is one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class RerankerSpec:
    """One published reranker, as ``config/rerankers.yaml`` names it.

    ``id`` is a hub id or a local folder; ``revision`` is pinned (a commit hash or a tag) where ``id`` is a hub id;
    ``max_length`` is in tokens of the model's tokenizer; ``options`` holds what only one format knows.
    """

    name: str
    format: str
    id: str = ""
    revision: str | None = None
    instruction: str | None = None
    max_length: int = 512
    license: str = "unknown"
    base: str | None = None
    base_revision: str | None = None
    trust_remote_code: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Passage:
    """What a reranker computed of a document ahead of any query; ``key`` names model, revision, form and text."""

    key: str
    data: bytes = field(repr=False)


class PassageReader(Protocol):
    """Where prepared passages are kept."""

    def load(self, wanted: Mapping[int, str]) -> dict[int, bytes]:
        """Return the passages by message id that are there under exactly the wanted keys."""


class ImageReader(Protocol):
    """Where the images of messages are kept."""

    def files(self, message_id: int) -> tuple[Path, ...]:
        """Return the images of a message that are here."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the profile and the machine decide about a model: where it runs, in what, with how much.

    ``batch_tokens`` bounds the padded (or packed) tokens of one forward pass; ``max_document_tokens`` cuts a
    document's tail; ``local_only`` forbids the network. ``models_dir`` holds fetched models.
    ``passages`` is where passages that were prepared at ingestion can be read, for formats that prepare them;
    ``images`` is where the images of messages can be read, for formats that see them.
    ``api_key`` is for hosted rerankers; ``trust_remote_code`` holds the names that the operator trusts to bring code.
    """

    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "int8"] = "float32"
    batch_tokens: int = 4096
    max_document_tokens: int = 512
    models_dir: Path = Path("data/runtime/models")
    local_only: bool = True
    threads: int | None = None
    api_key: str | None = field(default=None, repr=False)
    trust_remote_code: frozenset[str] = frozenset()
    passages: PassageReader | None = None
    images: ImageReader | None = None


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

    def among(self, documents: Sequence[Document], scores: Sequence[Score]) -> list[Score]:
        """Return the scores of all candidates of one question as they are beside each other; most formats know no such
        thing and return them as they are. The order never changes."""
        return list(scores)

    def explain(self, query: str, documents: Sequence[Document], scores: Sequence[Score]) -> list[Score]:
        """Add contribution and evidence to the documents that matter, where the format generates them."""
        return list(scores)

    @property
    def passage_form(self) -> str:
        """What the keys of this format's passages begin with: the model, its revision and the form of the passages."""
        return ""

    def prepare(self, documents: Sequence[Document]) -> list[Passage]:
        """Compute what does not depend on a query, one passage for each document; most formats have no such thing."""
        return []

    def close(self) -> None:
        """Free the model's memory; the object is not used afterwards."""


Loader = Callable[[RerankerSpec, LoadOptions], Reranker]
