"""What names a reranker and says how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import ConfigDict, Field


class RerankerUnavailable(RuntimeError):
    """A reranker cannot be used here; the message is one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class RerankerSpec:
    """One published reranker, as ``config/rerankers.yaml`` names it.

    ``id`` is a hub id or a local folder; ``revision`` is pinned (a commit hash or a tag) where ``id`` is a hub id;
    ``max_length`` is in tokens of the model's tokenizer; ``options`` holds what only one format knows. ``languages``
    are the ISO 639-1 codes of those that it reads, where these are few; empty, nothing is refused.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    format: str
    id: str = ""
    revision: str | None = None
    instruction: str | None = None
    max_length: Annotated[int, Field(ge=1)] = 512
    license: str = "unknown"
    base: str | None = None
    base_revision: str | None = None
    trust_remote_code: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    languages: tuple[str, ...] = ()


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
