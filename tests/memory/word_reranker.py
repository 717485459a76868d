"""A reranker format for tests: the share of the document's words that the query holds. Named in a test's own YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec
from cogs.memory.rerankers.base import Document, Reranker, Scale, Score


class WordReranker(Reranker):
    """Counts shared words."""

    scale: ClassVar[Scale] = "probability"

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Return the share of each document's words that stand in the query."""
        asked = set(re.findall(r"\w+", query.lower()))
        shares = []
        for document in documents:
            words = set(re.findall(r"\w+", document.text.lower()))
            shares.append(len(words & asked) / max(1, len(words)))
        return [Score(share, share) for share in shares]


def load(spec: RerankerSpec, options: LoadOptions) -> WordReranker:
    """Return the reranker; there is nothing to load."""
    return WordReranker(spec)
