"""The parts of the memory that need loaded models, built together when it starts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cogs.memory.caches.memory_caches import MemoryCaches
from cogs.memory.forgetting import Forgetting
from cogs.memory.housekeeping import Housekeeping
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.ingest.labels import Labels, LabelWorker
from cogs.memory.ingest.worker import IngestWorker
from cogs.memory.models.loadout import Loadout
from cogs.memory.profile_switch import ProfileLoader, ProfileSwitch, queue_missing, retire
from cogs.memory.recall.browsing import Browsing
from cogs.memory.recall.insight import Insight
from cogs.memory.recall.pipeline import Recall
from cogs.memory.records import Reach, Scope, Status
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.traces import TraceEraser
from cogs.memory.vector_store.guild_indexes import GuildIndexes


@dataclass(frozen=True, slots=True)
class Running:
    """The parts that need loaded models; there are all of them or none."""

    slot: ModelSlot[Loadout]
    ingest: IngestWorker
    label_worker: LabelWorker
    labels: Labels
    recall: Recall
    forgetting: Forgetting
    housekeeping: Housekeeping
    switch: ProfileSwitch
    insight: Insight
    browsing: Browsing

    @classmethod
    def around(
        cls,
        loadout: Loadout,
        problem: str | None,
        repository: Repository,
        caches: MemoryCaches,
        loader: ProfileLoader,
        grace_days: int,
    ) -> Running:
        """Build the parts around the loadout to begin with; on the event loop.

        Args:
            loadout: the models to begin with.
            problem: why they are not the first choice, if they are not.
            repository: the database.
            caches: what is kept beside it.
            loader: loads the models of other profiles.
            grace_days: how long a server is kept after the bot left it.
        """
        slot = ModelSlot(loadout, retire)
        ingest, label_worker = IngestWorker(repository, slot), LabelWorker(repository, slot)
        eraser = TraceEraser(repository)
        forgetting = Forgetting(repository, slot, caches, ingest, eraser, grace_days)
        recall = Recall(repository, slot, caches)
        return cls(
            slot,
            ingest,
            label_worker,
            Labels(repository, label_worker),
            recall,
            forgetting,
            Housekeeping(repository, slot, forgetting, eraser),
            ProfileSwitch(repository, slot, ingest, loader, problem),
            Insight(repository, slot, loader.factory, recall.latency),
            Browsing(repository, slot),
        )

    async def begin(self, repository: Repository) -> None:
        """Bring the indexes level, and go on with what a crash left queued."""
        # A crash may have come between a deletion and the erasure of its traces.
        await asyncio.to_thread(self.forgetting.finish)
        await asyncio.to_thread(repository.erase_traces)
        await asyncio.to_thread(self.slot.current.indexes.discard_others)
        await asyncio.to_thread(queue_missing, repository, self.slot.current)
        self.ingest.start()
        self.label_worker.start()
        self.housekeeping.start()

    async def end(self) -> None:
        """Finish what is in hand and write the snapshots."""
        await self.housekeeping.stop()
        await self.label_worker.stop()
        await self.ingest.stop()
        await asyncio.to_thread(self.slot.current.close)

    async def status(self, repository: Repository, caches: MemoryCaches, guild_id: int | None) -> Status:
        """Return the state of the parts and of what is stored, of one server or of all."""

        def stored(indexes: GuildIndexes) -> tuple[Reach, int, str]:
            guilds = repository.guilds.ids() if guild_id is None else [guild_id]
            scope = Scope({g: frozenset(c.id for c in repository.guilds.channels(g)) for g in guilds})
            stats = indexes.stats() if guild_id is None else indexes.store(guild_id).stats()
            phrase = f"{stats.kind}: {stats.vectors:,} vectors, {stats.bytes / 2**20:.1f} MB"
            return caches.reach_of(scope), repository.vectors.queue_length(guild_id), phrase

        with self.slot.acquire() as loadout:
            reach, queue, index = await asyncio.to_thread(stored, loadout.indexes)
            return Status(
                messages=reach.messages,
                channels=reach.channels,
                queue=queue,
                profile=loadout.profile.name,
                embedder=loadout.embedder.model_key,
                reranker=None if loadout.reranker is None else loadout.reranker.name,
                device=f"{loadout.profile.device} ({loadout.profile.dtype}){_busy(loadout.worker.health().busy_for)}",
                index=index,
                last_error=self.ingest.last_error
                or self.label_worker.last_error
                or self.recall.last_error
                or repository.rewriter.problem,
                latency=self.recall.latency.percentiles(),
                uptime=0.0,
                degraded=loadout.problem or self.switch.problem,
            )


def _busy(seconds: float | None) -> str:
    """Return what to say of a model's call that has gone on for so long; a short one is not worth a word."""
    return "" if seconds is None or seconds < 1 else f", a call has been running for {seconds:.0f} s"
