"""Late interaction over the token vectors of the sentence embedder: a reranker that needs no download.

Each token of the query looks for its best partner among the tokens of the message (MaxSim, as in ColBERT,
https://arxiv.org/abs/2004.12832). The embedder was trained for whole sentences and not for this, so it reorders by
shared and related words; it is the choice where no trained cross-encoder is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import AutoModel

from cogs.memory.embedding.specs import MINILM, EmbedderUnavailable, verified_folder
from cogs.memory.inference.batches import length_sorted_batches
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec, RerankerUnavailable
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score, sigmoid

# The mean best cosine of unrelated chat lines lies near 0.45 and that of answers near 0.65.
MIDDLE, WIDTH = 0.55, 0.07
# Words of a question that any message could hold.
SAYING_LITTLE = frozenset(
    "a an the and or but if of to in on at by for with from as is are was were be been do does did have has had i you "
    "he she it we they me him her us them my your his its our their this that what which who whom when where why how "
    "about can could would should will".split()
)


class LateInteractionReranker(Reranker):
    """Scores by the mean, over the query's telling tokens, of the best cosine with a token of the document.

    ``raw`` is that mean, in [-1, 1]; the probability is a logistic of it, so it orders alike.
    """

    scale: ClassVar[Scale] = "logit"

    def __init__(
        self, spec: RerankerSpec, options: LoadOptions, encoder: torch.nn.Module, tokenizer: Tokenizer
    ) -> None:
        super().__init__(spec)
        self._encoder = encoder.to(options.device).eval()
        self._tokenizer = tokenizer
        self._options = options
        self._limit = min(spec.max_length, options.max_document_tokens)

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Score the documents; the author's name is part of what is judged."""
        if not documents:
            return []
        texts = [f"{d.author}: {d.text}" if d.author else d.text for d in documents]
        encoded = self._tokenizer.encode_batch([query, *texts])
        rows = [(encoding.ids[: self._limit], encoding.tokens[: self._limit]) for encoding in encoded]
        vectors = self._token_vectors([ids for ids, _ in rows])
        wanted = vectors[0][_telling(rows[0][1])]
        raws = [float((wanted @ found.T).amax(1).mean()) for found in vectors[1:]]
        return [Score(sigmoid((raw - MIDDLE) / WIDTH), raw) for raw in raws]

    @torch.inference_mode()
    def _token_vectors(self, rows: Sequence[list[int]]) -> list[torch.Tensor]:
        """Return, for each token list, unit vectors of shape (tokens, width); batched by length."""
        found: list[torch.Tensor] = [torch.empty(0)] * len(rows)
        for batch in length_sorted_batches([len(ids) for ids in rows], self._options.batch_tokens):
            width = len(rows[int(batch[-1])])
            ids: npt.NDArray[np.int64] = np.zeros((len(batch), width), dtype=np.int64)
            mask = np.zeros_like(ids)
            for line, row in enumerate(batch):
                ids[line, : len(rows[row])] = rows[row]
                mask[line, : len(rows[row])] = 1
            hidden = self._encoder(
                input_ids=torch.from_numpy(ids).to(self._options.device),
                attention_mask=torch.from_numpy(mask).to(self._options.device),
            ).last_hidden_state
            unit = F.normalize(hidden.float(), dim=-1)
            for line, row in enumerate(batch):
                found[int(row)] = unit[line, : len(rows[row])]
        return found

    def close(self) -> None:
        """Free the encoder."""
        del self._encoder


def _telling(tokens: Sequence[str]) -> list[int]:
    """Return the places of the query's tokens that say what is asked; all of them where none does."""
    inner = range(1, max(1, len(tokens) - 1))  # the first and last are the special tokens
    telling = [i for i in inner if tokens[i] not in SAYING_LITTLE and any(c.isalnum() for c in tokens[i])]
    return telling or list(inner) or list(range(len(tokens)))


def load(spec: RerankerSpec, options: LoadOptions) -> LateInteractionReranker:
    """Load the encoder from its package, checked against its hash.

    Raises:
        RerankerUnavailable: the package is missing or its weights are not the expected ones.
    """
    if spec.id != MINILM.id:
        raise RerankerUnavailable(f"{spec.name} works over {MINILM.id} only; correct its id in rerankers.yaml.")
    try:
        folder = verified_folder(MINILM)
    except EmbedderUnavailable as error:
        raise RerankerUnavailable(str(error)) from error
    encoder = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return LateInteractionReranker(spec, options, encoder, tokenizer)
