"""The durable queue: rows that wait in the table → batches → embed → vectors in the database and the index."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_chain, wait_fixed

from cogs.memory.embedding.specs import Vectors
from cogs.memory.errors import MnemeError
from cogs.memory.event_loop import LoopCaller
from cogs.memory.inference.device_worker import DeadlineExceeded, Priority
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.models.loadout import MODEL_ERRORS, Loadout
from cogs.memory.reranker_service import RerankerService
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.vectors import PendingMessage
from cogs.memory.text.model_input import candidate, embedding_text

log = logging.getLogger(__name__)
IDLE_SECONDS = 5.0
EMBED_SECONDS = 300.0
"""A batch that takes longer, the questions that went ahead of it included, hangs."""
SLICE_SECONDS = 0.1
"""What a slice should take: a person's question waits for one at most, on a slow or busy machine as on a fast one."""
SLICE_CHARACTERS = 2
"""Characters of a slice at most, for each token of the profile's budget."""
LEAST_CHARACTERS = 256
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""How long a batch that failed waits: the first time, the second time, …; the last one again and again."""
Progress = Callable[[str, float], Awaitable[None]]


def _texts(items: Sequence[PendingMessage]) -> list[str]:
    return [embedding_text(item.message, item.parent) for item in items]


class Pace:
    """How many characters a slice may have, by what the last one took."""

    def __init__(self) -> None:
        self._characters = float("inf")

    def characters(self, most: int) -> int:
        """Return the size of the next slice, ``most`` at most."""
        self._characters = min(self._characters, float(most))
        return int(self._characters)

    def took(self, seconds: float, characters: int) -> None:
        """Learn from a slice of so many characters."""
        if seconds > SLICE_SECONDS or characters > self._characters / 2:  # a small rest says little about a whole one
            change = min(2.0, max(0.5, SLICE_SECONDS / max(seconds, 1e-6)))
            self._characters = max(float(LEAST_CHARACTERS), self._characters * change)


def slices(texts: Sequence[str], characters: Callable[[], int]) -> Iterator[list[int]]:
    """Yield slices of similar lengths, as places in ``texts``: of so many characters at most, but one text at least."""
    part: list[int] = []
    filled = 0
    for place in sorted(range(len(texts)), key=lambda i: len(texts[i])):
        if part and filled + len(texts[place]) > characters():
            yield part
            part, filled = [], 0
        part.append(place)
        filled += len(texts[place])
    if part:
        yield part


def _timed(call: Callable[..., Vectors], *args: object) -> tuple[Vectors, float]:
    started = time.perf_counter()
    return call(*args), time.perf_counter() - started


class IngestWorker:
    """Drains the queue in the background; one task of the event loop, with all work on other threads.

    Make it on the event loop.
    """

    def __init__(self, repository: Repository, slot: ModelSlot[Loadout]) -> None:
        self._repository = repository
        self._slot = slot
        self._passages = repository.passages
        self._pace = Pace()
        self._call = LoopCaller()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.batch_lock = asyncio.Lock()
        self._waits: str | None = None
        self._unwritten: str | None = None
        self._lost: str | None = None
        self._settled = repository.database.doubts

    @property
    def last_error(self) -> str | None:
        """What is wrong now, or the last thing that a message suffered from."""
        return self._waits or self._unwritten or self._lost

    def start(self) -> None:
        """Begin; what a crash left in the queue is done first."""
        self._wake.set()
        self._task = asyncio.create_task(self._run(), name="ingest")

    def notify(self) -> None:
        """Say that there is something new; from any thread."""
        self._call(self._notice)

    def _notice(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def drain(self) -> None:
        """Wait until everything that was remembered is embedded and indexed."""
        self._notice()
        idle = asyncio.create_task(self._idle.wait())
        running = [self._task] if self._task is not None else []
        await asyncio.wait([idle, *running], return_when=asyncio.FIRST_COMPLETED)
        if not idle.done():
            idle.cancel()
            assert self._task is not None
            self._task.result()

    async def stop(self) -> None:
        """End between two batches; what waits stays in the table."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        batch = AsyncRetrying(
            retry=retry_if_exception_type((MnemeError, *MODEL_ERRORS)),
            wait=wait_chain(*(wait_fixed(seconds) for seconds in RETRY_SECONDS)),
            before_sleep=self._note_failure,
        ).wraps(self._batch)
        while True:
            self._wake.clear()
            while await batch():
                pass
            if not self._wake.is_set():
                self._idle.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), IDLE_SECONDS)
            await self._save_snapshots()

    def _note_failure(self, state: RetryCallState) -> None:
        """Say why a batch waits: nothing is lost, its rows stay queued, and the next try may take others with them."""
        error = state.outcome.exception() if state.outcome is not None else None
        self._waits = f"embedding waits: {error}"
        log.warning("a batch could not be embedded and stays queued: %s", type(error).__name__, exc_info=error)

    async def _settle(self) -> None:
        """Look at the database again after a commit whose answer was lost: the indexes may differ."""
        doubts = self._repository.database.doubts
        if doubts != self._settled:
            with self._slot.acquire() as loadout:
                await asyncio.to_thread(loadout.indexes.level)
            self._settled = doubts

    async def _save_snapshots(self) -> None:
        with self._slot.acquire() as loadout:
            await asyncio.to_thread(loadout.indexes.save, due_only=True)
            self._unwritten = loadout.indexes.problem
            await asyncio.to_thread(loadout.indexes.prove)

    async def _batch(self) -> bool:
        # A switch of profiles takes the same lock: no batch may end under models that are no longer in use.
        async with self.batch_lock:
            await self._settle()
            return await self._locked_batch()

    async def _locked_batch(self) -> bool:
        with self._slot.acquire() as loadout:
            items = await asyncio.to_thread(self._repository.vectors.pending, loadout.profile.embed_batch)
            if not items:
                return False
            await self._embed(loadout, items, mark_indexed=True)
            self._waits = None
            return True

    async def _embed(self, loadout: Loadout, items: Sequence[PendingMessage], *, mark_indexed: bool) -> None:
        """Embed and store a batch; what fails by itself while others succeed leaves the queue."""
        failed: list[PendingMessage] = []
        error = await self._try(loadout, items, mark_indexed, failed)
        if error is None:
            return
        if len(failed) == len(items):
            raise error
        # One message that no model can take must not hold up all others; it stays findable by keyword.
        self._lost = f"{len(failed)} message(s) could not be embedded: {error}"
        log.warning("%d message(s) could not be embedded: %s", len(failed), [f.message.id for f in failed])
        await asyncio.to_thread(self._repository.vectors.mark_failed, failed)

    async def _try(
        self, loadout: Loadout, items: Sequence[PendingMessage], mark_indexed: bool, failed: list[PendingMessage]
    ) -> Exception | None:
        """Embed a batch; if that fails, each half by itself. Return the last error; ``failed`` gets what failed."""
        try:
            vectors = await self._vectors(loadout, _texts(items), await self._images(loadout, items))
        except DeadlineExceeded as error:
            raise MnemeError("the embedder hangs; it is tried again") from error  # smaller batches would not help
        except MODEL_ERRORS as error:
            if len(items) == 1:
                failed.extend(items)
                return error
            half = len(items) // 2
            first = await self._try(loadout, items[:half], mark_indexed, failed)
            second = await self._try(loadout, items[half:], mark_indexed, failed)
            return second or first
        write = partial(
            self._repository.vectors.save,
            loadout.embedder.model_key,
            items,
            vectors,
            partial(loadout.indexes.add, items, vectors),
            mark_indexed=mark_indexed,
        )
        await asyncio.to_thread(write)
        if loadout.reranker is not None and loadout.reranker.prepares:
            await self._prepare(loadout, loadout.reranker, items)
        return None

    async def _vectors(
        self, loadout: Loadout, texts: Sequence[str], images: Sequence[tuple[Path, ...]] | None
    ) -> Vectors:
        """Embed in slices of similar length: a person's question waits for one slice, never for the whole batch."""
        vectors: Vectors = np.empty((len(texts), loadout.embedder.dim), dtype=np.float32)
        most = loadout.profile.batch_tokens * SLICE_CHARACTERS
        for part in slices(texts, lambda: self._pace.characters(most)):
            vectors[part], seconds = await loadout.worker.run(
                _timed,
                loadout.embedder.embed_passages,
                [texts[i] for i in part],
                None if images is None else [images[i] for i in part],
                priority=Priority.BACKGROUND,
                deadline=EMBED_SECONDS,
            )
            self._pace.took(seconds, sum(len(texts[i]) for i in part))
        return vectors

    async def _images(self, loadout: Loadout, items: Sequence[PendingMessage]) -> list[tuple[Path, ...]] | None:
        """Bring the images of messages here, where a model of the profile sees them."""
        if loadout.images is None or not loadout.sees_images:
            return None
        return await asyncio.to_thread(loadout.images.fetch, items)

    async def _prepare(self, loadout: Loadout, reranker: RerankerService, items: Sequence[PendingMessage]) -> None:
        """Store what the reranker computes ahead of queries; where it fails, it computes that at query time."""
        documents = [candidate(item.message, item.parent) for item in items]
        try:
            passages = await loadout.worker.run(reranker.prepare, documents, priority=Priority.BACKGROUND)
        except MODEL_ERRORS as error:
            self._lost = f"{len(items)} passage(s) could not be encoded ahead of queries: {error}"
            log.warning("passages could not be encoded ahead of queries: %s", type(error).__name__, exc_info=error)
            return
        await asyncio.to_thread(self._passages.save, items, passages)

    async def reembed(self, loadout: Loadout, progress: Progress | None) -> None:
        """Make the vectors that a new embedder lacks, oldest first, while the old one goes on serving."""
        key = loadout.embedder.model_key
        total = await asyncio.to_thread(self._repository.vectors.count_without_vector, key)
        done, after = 0, 0
        while items := await asyncio.to_thread(
            self._repository.vectors.without_vector, key, after, loadout.profile.embed_batch
        ):
            await self._embed(loadout, items, mark_indexed=False)
            after = items[-1].message.id
            done += len(items)
            if progress is not None:
                await progress(f"Making vectors anew: {done:,} of {max(total, done):,}", done / max(total, done))
