"""The queue's worker: a person's question goes between two slices of a batch, and slices change no vector."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cogs.memory.ingest.worker import LEAST_CHARACTERS, Pace, slices
from tests.memory.building import ask, message, running_service, texts

LONG = "the lighthouse keeper told us about the storm of that winter and the boats that never came home " * 6


def test_slices_hold_every_text_once_and_keep_to_the_budget() -> None:
    written = ["x" * length for length in (5, 400, 90, 0, 90, 7, 1200, 30)]
    parts = list(slices(written, lambda: 500))
    assert sorted(place for part in parts for place in part) == list(range(len(written)))
    for part in parts:
        assert len(part) == 1 or sum(len(written[place]) for place in part) <= 500
    assert list(slices([], lambda: 500)) == []


def test_slices_shrink_on_a_busy_machine_and_grow_again_on_a_free_one() -> None:
    pace = Pace()
    assert pace.characters(4000) == 4000
    pace.took(0.4, 4000)
    pace.took(0.4, 2000)
    assert pace.characters(4000) == 1000
    for _ in range(20):
        pace.took(5.0, 1)
    assert pace.characters(4000) == LEAST_CHARACTERS
    pace.took(0.001, 10)
    assert pace.characters(4000) == LEAST_CHARACTERS, "the rest of a batch says nothing of a whole slice"
    for _ in range(20):
        pace.took(0.01, pace.characters(4000))
    assert pace.characters(4000) == 4000
    assert pace.characters(1000) == 1000, "a smaller profile"


async def test_a_question_waits_for_a_slice_and_not_for_the_batch(tmp_path: Path) -> None:
    order: list[str] = []
    began = threading.Event()

    class Recording:
        def __init__(self, encoder: Any) -> None:
            self.encoder = encoder

        def encode(self, texts: Sequence[str]) -> Any:
            order.append("question" if any("pizza" in text for text in texts) else "slice")
            began.set()
            return self.encoder.encode(texts)

    profiles = tmp_path / "profiles.yaml"
    profiles.write_text("patient: {candidates: 30, deadline_ms: 60000, max_document_tokens: 256}\n", encoding="utf-8")
    async with running_service(tmp_path, profile="patient", profiles_file=profiles) as service:
        await ask(service, "warm up")
        with service.slot.acquire() as loadout:
            loadout.embedder._encoder = Recording(loadout.embedder._encoder)
        await service.remember([message(i, f"{i} {LONG}") for i in range(1, 121)])
        assert await asyncio.to_thread(began.wait, 20)
        await ask(service, "where is the pizza place")
        await service.drain()
        assert order.index("question") <= 6, "it stood behind the batch"
        assert order.count("slice") > 12
        found = await ask(service, "the storm of that winter", limit=5)
        assert len(texts(found)) == 5


async def test_slices_give_the_vectors_of_one_call(tmp_path: Path) -> None:
    said = [
        f"{word} " * count for count, word in ((1, "apple"), (300, "storm"), (40, "cat"), (2, "lamp"), (150, "sea"))
    ]
    async with running_service(tmp_path, profile="minimal") as service:
        with service.slot.acquire() as loadout:
            sliced = await service.ingest._vectors(loadout, said, None)
            whole = loadout.embedder.embed_passages(said)
    assert np.allclose(sliced, whole, atol=2e-2)
    assert (np.sum(sliced * whole, axis=1) > 0.999).all()
