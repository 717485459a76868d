"""Any sentence-transformers model on any device, for embedders that have no ONNX path (Qwen3-Embedding, …)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer

from cogs.memory.inference.batches import length_sorted_batches
from cogs.memory.inference.model_folders import require_safetensors
from cogs.memory.inference.model_specs import LoadOptions, RerankerUnavailable

if TYPE_CHECKING:
    from cogs.memory.embedding.specs import EmbedderSpec

Vectors = npt.NDArray[np.float32]
POOLING: Final = {"mean": "mean", "cls": "cls", "last": "lasttoken"}


class TorchEncoder:
    """Texts → vectors by PyTorch, in length-sorted batches of ``options.batch_tokens`` padded tokens.

    Text that spells a special token is tokenized as the characters that it is.
    """

    def __init__(self, spec: EmbedderSpec, folder: Path, options: LoadOptions) -> None:
        from cogs.memory.embedding.specs import EmbedderUnavailable

        dtype = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
        trusted = spec.trust_remote_code and spec.name in options.trust_remote_code
        arguments = {"use_safetensors": True, "dtype": dtype, "local_files_only": True}
        try:
            require_safetensors(folder)
            if (folder / "modules.json").is_file():
                self._model = SentenceTransformer(
                    str(folder),
                    device=options.device,
                    local_files_only=True,
                    trust_remote_code=trusted,
                    model_kwargs=arguments,
                )
            elif spec.pooling in POOLING:
                transformer = Transformer(str(folder), model_kwargs=arguments)
                width = int(transformer.get_embedding_dimension())
                modules = [transformer, Pooling(width, POOLING[spec.pooling])]
                self._model = SentenceTransformer(modules=modules, device=options.device)
            else:
                raise EmbedderUnavailable(
                    f"The embedder {spec.name} in {folder} does not state its pooling; "
                    f"set `pooling: mean`, `last` or `cls` in embedders.yaml."
                )
        except (OSError, ValueError, RerankerUnavailable) as error:
            raise EmbedderUnavailable(f"The embedder {spec.name} in {folder} cannot be loaded: {error}") from error
        self._model.max_seq_length = spec.max_length
        self._model.tokenizer.split_special_tokens = True
        self._batch_tokens = options.batch_tokens

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors, shape (n, model's dim), in the order of ``texts``."""
        tokenizer = self._model.tokenizer
        limit = self._model.max_seq_length
        lengths = [min(len(ids), limit) for ids in tokenizer(list(texts), truncation=False)["input_ids"]]
        vectors: Vectors | None = None
        for rows in length_sorted_batches(lengths, self._batch_tokens):
            batch = self._model.encode(
                [texts[row] for row in rows],
                batch_size=len(rows),
                convert_to_tensor=True,
                show_progress_bar=False,
                # The entry's prompt already stands before the text; the model's own default would be a second one.
                prompt="",
            )
            part = batch.float().cpu().numpy()
            if vectors is None:
                vectors = np.empty((len(texts), part.shape[1]), dtype=np.float32)
            vectors[rows] = part
        assert vectors is not None
        return vectors
