"""An encoder for tests that are not about meaning: texts that share words are near each other, and it loads at once."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.embedding.specs import MNEME, Vectors


class WordEncoder:
    """Counts words: each adds one to a dimension that its checksum names."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a vector of the shipped embedder's length for each text."""
        vectors = np.zeros((len(texts), MNEME.dim), np.float32)
        for row, text in enumerate(texts):
            said = text.removeprefix(MNEME.query_prompt).removeprefix(MNEME.passage_prompt)
            for word in ["", *said.casefold().split()]:
                vectors[row, zlib.crc32(word.encode(errors="replace")) % MNEME.dim] += 1
        return vectors


@contextmanager
def word_encoder() -> Iterator[None]:
    """Let every service of this process embed by :class:`WordEncoder` instead of a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddingService, "_load", lambda _: WordEncoder())
        yield
