"""Any sentence-transformers model on any device, for embedders that have no ONNX path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from cogs.memory.embedding_onnx import length_sorted_batches
from cogs.memory.rerankers.base import LoadOptions

if TYPE_CHECKING:
    from cogs.memory.embedding_service import EmbedderSpec

Vectors = npt.NDArray[np.float32]


class TorchEncoder:
    """Texts → vectors by PyTorch, in length-sorted batches of ``options.batch_tokens`` padded tokens."""

    def __init__(self, spec: EmbedderSpec, folder: Path | None, options: LoadOptions) -> None:
        from cogs.memory.embedding_service import EmbedderUnavailable

        dtype = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
        try:
            self._model = SentenceTransformer(
                str(folder or spec.id),
                device=options.device,
                revision=None if folder else spec.revision,
                cache_folder=str(options.models_dir),
                local_files_only=options.local_only or folder is not None,
                trust_remote_code=spec.trust_remote_code,
                model_kwargs={"use_safetensors": True, "dtype": dtype},
            )
        except (OSError, ValueError) as error:
            raise EmbedderUnavailable(
                f"The embedder {spec.name} ({spec.id}) is not on this machine; fetch it with "
                f"`python bot.py models fetch {spec.name}`."
            ) from error
        self._model.max_seq_length = spec.max_length
        self._batch_tokens = options.batch_tokens

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors, shape (n, model's dim), in the order of ``texts``."""
        tokenizer = self._model.tokenizer
        limit = self._model.max_seq_length
        lengths = [min(len(ids), limit) for ids in tokenizer(list(texts), truncation=False)["input_ids"]]
        vectors: Vectors | None = None
        for rows in length_sorted_batches(lengths, self._batch_tokens):
            batch = self._model.encode(
                [texts[row] for row in rows], batch_size=len(rows), convert_to_tensor=True, show_progress_bar=False
            )
            part = batch.float().cpu().numpy()
            if vectors is None:
                vectors = np.empty((len(texts), part.shape[1]), dtype=np.float32)
            vectors[rows] = part
        assert vectors is not None
        return vectors
