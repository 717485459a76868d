"""A reranker that takes its time, for tests of deadlines and heartbeats: three seconds a call, off the event loop."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec
from cogs.memory.rerankers.base import Document, Score
from tests.memory.word_reranker import WordReranker

SECONDS = 3.0


class SlowReranker(WordReranker):
    """Counts shared words, slowly."""

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Sleep while holding the GIL now and then, then score."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(0.005)
        return super().score(query, documents)


def load(spec: RerankerSpec, options: LoadOptions) -> SlowReranker:
    """Return the reranker."""
    return SlowReranker(spec)
