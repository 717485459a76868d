"""EmbeddingService: texts → unit vectors, by the embedder that a profile names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from cogs.memory.embedding.openvino_encoder import OpenVinoEncoder
from cogs.memory.embedding.specs import (
    EMBEDDERS_FILE,
    EmbedderSpec,
    EmbedderUnavailable,
    Encoder,
    ImageEncoder,
    Vectors,
    _checked_weights,
    _folder,
    load_embedders,
)
from cogs.memory.embedding.words_encoder import load_words_encoder
from cogs.memory.inference.model_specs import LoadOptions
from cogs.memory.inference.onnx_graphs import cached_graph

log = logging.getLogger(__name__)

CHARACTERS_PER_TOKEN = 64
"""A text is cut at this many characters for each token of the limit before it is tokenized, to bound the time."""


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
        if self.spec.format == "shared-words":
            return load_words_encoder(self.spec, self.options.threads)
        folder = _folder(self.spec)
        if folder is not None:
            digest = _checked_weights(self.spec, folder)
            if self.options.device == "cpu" and _is_mean_pooled_bert(folder):
                graph = cached_graph(folder, digest, self.options.models_dir / "onnx")
                return OpenVinoEncoder(folder, graph, self.spec.max_length, self.options.threads)
        from cogs.memory.inference.model_folders import local_folder

        found = folder or local_folder(self.spec.id, self.spec.revision, self.options.models_dir)
        if found is None:
            raise EmbedderUnavailable(
                f"The embedder {self.spec.name} ({self.spec.id}) is not on this machine; fetch it with "
                f"`python bot.py models fetch {self.spec.name}`."
            )
        if self.spec.format == "qwen3-vl":
            from cogs.memory.embedding.qwen_vl_encoder import QwenVLEncoder

            return QwenVLEncoder(self.spec, found, self.options)
        from cogs.memory.embedding.torch_encoder import TorchEncoder

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


def _is_mean_pooled_bert(folder: Path) -> bool:
    """Return whether a sentence-transformers folder is a BERT with mean pooling, which the ONNX path reproduces."""
    try:
        config: Any = yaml.safe_load((folder / "config.json").read_text(encoding="utf-8"))
        pooling: Any = yaml.safe_load((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except OSError:
        return False
    modes = {key for key, value in pooling.items() if value is True and key.startswith("pooling_mode_")}
    return config.get("model_type") == "bert" and modes == {"pooling_mode_mean_tokens"}
