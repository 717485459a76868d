"""Labels: the reranker as a zero-shot classifier of messages (the BTZSC protocol), in the background.

The message is the query; each label's sentence and examples are documents, and so is "none of these". The best label
is the message's where it is above :data:`THRESHOLD` and better than none of these by :data:`MARGIN`. A profile without
a reranker labels nothing. No reranker here was made for this, so people are told that labels are an experiment, and
what one would catch before it is switched on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from cogs.memory.errors import BadRequest, MnemeError
from cogs.memory.event_loop import LoopCaller
from cogs.memory.inference.device_worker import Priority
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.models.loadout import MODEL_ERRORS, Loadout
from cogs.memory.records import Filters, Scope, StoredMessage
from cogs.memory.reranker_service import KEEP_NOTHING, RerankerService
from cogs.memory.storage.labels import LabelInfo
from cogs.memory.storage.repository import Repository
from cogs.memory.text.bounds import MOST_LABELS
from cogs.memory.text.model_input import body

log = logging.getLogger(__name__)
BATCH = 32
IDLE_SECONDS = 15.0
RETRY_SECONDS = 30.0
THRESHOLD = 0.5
MARGIN = 0.15
NONE = LabelInfo("", "None of these: small talk, or about something else")
TRIED = 30
"""The newest messages that a label is tried on before it is switched on."""
MOST_EXAMPLES = 10
NAME_LENGTH, DESCRIPTION_LENGTH = 50, 300
TEXT_CHARACTERS = 1000


def classify(reranker: RerankerService, text: str, labels: Sequence[LabelInfo]) -> list[float]:
    """Return the probability of each label for a text: that of its description or of its best example."""
    documents = [(place, text) for place, label in enumerate(labels) for text in (label.description, *label.examples)]
    candidates = [{"id": number, "content": content} for number, (_, content) in enumerate(documents)]
    # A text is judged once, and as a query its scores could not be found again when its message is forgotten.
    found = reranker.rerank_results(text, candidates, drops=KEEP_NOTHING)
    best = [0.0] * len(labels)
    for candidate in found:
        place = documents[candidate["id"]][0]
        best[place] = max(best[place], float(candidate["rerank_score"]))
    return best


def chosen(scores: Sequence[float], labels: Sequence[LabelInfo]) -> tuple[str | None, float]:
    """Return the label of a message, or ``None``, and the best probability; the last score is that of none of these."""
    best = max(range(len(labels)), key=lambda place: scores[place])
    clear = scores[best] >= THRESHOLD and scores[best] - scores[-1] >= MARGIN
    return (labels[best].name if clear else None), scores[best]


class LabelWorker:
    """Judges messages that were not judged yet, newest first, whenever nobody waits for the device.

    Make it on the event loop.
    """

    def __init__(self, repository: Repository, slot: ModelSlot[Loadout]) -> None:
        self._repository = repository
        self._slot = slot
        self._call = LoopCaller()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.last_error: str | None = None

    def start(self) -> None:
        """Begin."""
        self._wake.set()
        self._task = asyncio.create_task(self._run(), name="labels")

    def notify(self) -> None:
        """Say that there is something to judge; from any thread."""
        self._call(self._notice)

    def _notice(self) -> None:
        self._idle.clear()
        self._wake.set()

    async def drain(self) -> None:
        """Wait until everything is judged, or until judging has failed."""
        self._notice()
        await self._idle.wait()

    async def stop(self) -> None:
        """End between two batches; what waits is judged after the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            pause = IDLE_SECONDS
            try:
                for guild_id in await asyncio.to_thread(self._repository.labels.guilds):
                    while await self._batch(guild_id):
                        pass
                self.last_error = None
            except (MnemeError, *MODEL_ERRORS) as error:
                self.last_error = f"labels wait: {error}"
                log.warning("labels could not be given", exc_info=error)
                pause = RETRY_SECONDS
            if not self._wake.is_set():
                self._idle.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    async def _batch(self, guild_id: int) -> bool:
        with self._slot.acquire() as loadout:
            if loadout.reranker is None:
                return False
            labels = await asyncio.to_thread(self._repository.labels.of_guild, guild_id)
            waiting = await asyncio.to_thread(self._repository.labels.unjudged, guild_id, BATCH)
            if not waiting or not labels:
                return False
            judged = []
            for message, revision in waiting:
                judged.append((message.id, revision, *await self._judge(loadout, message, labels)))
            return bool(await asyncio.to_thread(self._repository.labels.save, guild_id, labels, judged))

    async def _judge(
        self, loadout: Loadout, message: StoredMessage, labels: Sequence[LabelInfo]
    ) -> tuple[str | None, float]:
        text = body(message)[:TEXT_CHARACTERS]
        if not text.strip():
            return None, 0.0
        asked = [*labels, NONE]
        scores = await loadout.worker.run(classify, loadout.reranker, text, asked, priority=Priority.BACKGROUND)
        return chosen(scores, labels)

    async def caught(self, messages: Sequence[StoredMessage], labels: Sequence[LabelInfo], name: str) -> int | None:
        """Return how many of some messages a label would catch among others; ``None`` without a reranker."""
        with self._slot.acquire() as loadout:
            if loadout.reranker is None:
                return None
            found = [await self._judge(loadout, message, labels) for message in messages]
        return sum(label == name for label, _ in found)


class Labels:
    """The labels of a server: which there are, and what they mean.

    Args:
        repository: the rows of the labels.
        worker: told when messages have to be judged again.
    """

    def __init__(self, repository: Repository, worker: LabelWorker) -> None:
        self._repository = repository
        self._worker = worker

    async def labels(self, guild_id: int) -> list[LabelInfo]:
        """Return the labels of a server."""
        return await asyncio.to_thread(self._repository.labels.of_guild, guild_id)

    async def try_label(self, scope: Scope, guild_id: int, label: LabelInfo) -> tuple[int | None, int]:
        """Return how many of the newest messages of a scope a label would catch, and how many were looked at.

        The first is ``None`` where the profile has no reranker.

        Raises:
            BadRequest: as :meth:`set_label`.
        """
        label = await self._checked(guild_id, label)

        def newest() -> list[StoredMessage]:
            ids = self._repository.search.listed(scope, Filters(), newest=True, limit=TRIED)
            found = self._repository.search.messages(ids, scope)
            return [found[i] for i in ids if i in found]

        others = [known for known in await self.labels(guild_id) if known.name != label.name]
        messages = await asyncio.to_thread(newest)
        return await self._worker.caught(messages, [*others, label], label.name), len(messages)

    async def set_label(self, guild_id: int, name: str, description: str, examples: Sequence[str] = ()) -> None:
        """Add a label, or describe it anew; messages, those of the past too, are sorted under it in the background.

        Raises:
            BadRequest: the name, the description or an example is empty or too long, or there are too many labels.
        """
        label = await self._checked(guild_id, LabelInfo(name, description, tuple(examples)))
        await asyncio.to_thread(self._repository.labels.set, guild_id, *label)
        self._worker.notify()

    async def _checked(self, guild_id: int, label: LabelInfo) -> LabelInfo:
        name, description = " ".join(label.name.split()), " ".join(label.description.split())
        examples = tuple(" ".join(example.split()) for example in label.examples)
        if not 1 <= len(name) <= NAME_LENGTH:
            raise BadRequest(f"A label's name has 1 to {NAME_LENGTH} characters.")
        if not 1 <= len(description) <= DESCRIPTION_LENGTH:
            raise BadRequest(f"Say in 1 to {DESCRIPTION_LENGTH} characters what a message with the label is about.")
        if len(examples) > MOST_EXAMPLES or not all(1 <= len(each) <= DESCRIPTION_LENGTH for each in examples):
            raise BadRequest(f"Give up to {MOST_EXAMPLES} examples of 1 to {DESCRIPTION_LENGTH} characters.")
        known = await self.labels(guild_id)
        if len(known) >= MOST_LABELS and name not in {label.name for label in known}:
            raise BadRequest(f"There can be {MOST_LABELS} labels; remove one first.")
        return LabelInfo(name, description, examples)

    async def remove_label(self, guild_id: int, name: str) -> bool:
        """Remove a label from every message; return whether it was there."""
        gone = await asyncio.to_thread(self._repository.labels.remove, guild_id, " ".join(name.split()))
        self._worker.notify()
        return gone
