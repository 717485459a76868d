"""A reranker and an encoder that go wrong when they are told to."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from cogs.memory.embedding.specs import Encoder
from cogs.memory.inference.model_specs import LoadOptions, RerankerSpec
from cogs.memory.rerankers.base import Document, Reranker, Score

Fault = Literal["raises", "memory", "hangs", "nan"]

RERANKERS = f"faulty:\n  format: {__name__}:load\n"
PROFILES = """
faulty:
  description: For the tests.
  needs: {memory_gb: 0.1}
  reranker: faulty
  deadline_ms: 2000
patient:
  description: For the tests of what has nothing to do with time.
  needs: {memory_gb: 0.1}
  deadline_ms: 20000
"""


@dataclass
class Switch:
    """What goes wrong now, and the end of what hangs."""

    fault: Fault | None = None
    release: threading.Event = field(default_factory=threading.Event)

    def strike(self) -> None:
        """Go wrong, where told to."""
        if self.fault == "raises":
            raise RuntimeError("the weights are haunted")
        if self.fault == "memory":
            raise MemoryError("not a byte left")
        if self.fault == "hangs":
            self.release.wait(60)


SWITCH = Switch()


class FaultyReranker(Reranker):
    """Prefers long texts while it works."""

    scale = "probability"

    def score(self, query: str, documents: Sequence[Document]) -> list[Score]:
        """Return one score for each document."""
        SWITCH.strike()
        value = float("nan") if SWITCH.fault == "nan" else None
        return [Score(v, v) for d in documents for v in [value or min(1.0, len(d.text) / 1000)]]


def load(spec: RerankerSpec, options: LoadOptions) -> FaultyReranker:
    """Load it."""
    return FaultyReranker(spec)


class FaultyEncoder:
    """Works as the encoder that it stands before, until it is told otherwise; ``poison`` is a text it never takes."""

    def __init__(self, encoder: Encoder, switch: Switch, poison: str | None = None) -> None:
        self._encoder = encoder
        self._switch = switch
        self._poison = poison

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return one vector for each text."""
        self._switch.strike()
        if self._poison is not None and any(self._poison in text for text in texts):
            raise RuntimeError("this text cannot be embedded")
        return self._encoder.encode(texts)


def write_config(folder: Path) -> dict[str, Path]:
    """Write the profile and the reranker; return the settings that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    profiles, rerankers = folder / "profiles.yaml", folder / "rerankers.yaml"
    profiles.write_text(PROFILES, encoding="utf-8")
    rerankers.write_text(RERANKERS, encoding="utf-8")
    return {"profiles_file": profiles, "rerankers_file": rerankers}
