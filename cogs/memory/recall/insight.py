"""What the page and the metrics show of the memory: counts, times, comparisons of rerankers, judged questions."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cogs.memory.errors import BadRequest
from cogs.memory.inference.device_worker import Priority
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.models.loadout import MODEL_ERRORS, Loadout, LoadoutFactory
from cogs.memory.recall.latency import Histogram, Latency
from cogs.memory.records import Hit, Scope
from cogs.memory.storage.judgements import Judged
from cogs.memory.storage.repository import Repository
from cogs.memory.text.model_input import candidate

COMPARED_AT_MOST = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """What is measured of the memory as a whole. Sizes in bytes; ``stages`` by name, ``degraded`` by reason."""

    vectors: int
    index_bytes: int
    database_bytes: int
    stages: Mapping[str, Histogram] = field(default_factory=dict)
    degraded: Mapping[str, int] = field(default_factory=dict)


class Insight:
    """Looks into the memory for people; nothing here changes what is recalled.

    Args:
        repository: the rows.
        slot: the models in use.
        factory: loads a reranker to compare with.
        latency: the times of recalls.
    """

    def __init__(
        self, repository: Repository, slot: ModelSlot[Loadout], factory: LoadoutFactory, latency: Latency
    ) -> None:
        self._repository = repository
        self._slot = slot
        self._factory = factory
        self._latency = latency

    async def figures(self) -> Figures:
        """Return the figures of this moment."""
        with self._slot.acquire() as loadout:
            stats = loadout.indexes.stats()
        size = await asyncio.to_thread(self._repository.overview.database_bytes)
        return Figures(stats.vectors, stats.bytes, size, self._latency.histograms(), dict(self._latency.degraded))

    async def by_day(self, scope: Scope, now: dt.datetime, days: int) -> list[tuple[str, int]]:
        """Return the messages of a scope on each of the last ``days`` days in UTC, days without any included."""
        today = now.astimezone(dt.UTC).date()
        first = today - dt.timedelta(days=days - 1)
        midnight = dt.datetime.combine(first, dt.time(), dt.UTC)
        found = await asyncio.to_thread(self._repository.overview.by_day, scope, int(midnight.timestamp() * 1000))
        epoch = dt.date(1970, 1, 1)
        each = [first + dt.timedelta(days=n) for n in range(days)]
        return [(day.isoformat(), found.get((day - epoch).days, 0)) for day in each]

    async def by_channel(self, scope: Scope, most: int) -> list[tuple[str, int]]:
        """Return the names of the channels of a scope in which most was said, and how much."""
        found = await asyncio.to_thread(self._repository.overview.by_channel, scope)
        names = {
            channel.id: channel.name
            for guild_id in scope.channels
            for channel in await asyncio.to_thread(self._repository.guilds.channels, guild_id)
        }
        ordered = sorted(found.items(), key=lambda item: -item[1])[:most]
        return [(names.get(channel_id, str(channel_id)), count) for channel_id, count in ordered]

    def rerankers(self) -> list[str]:
        """Return the rerankers whose models are on this machine, but for the one in use."""
        with self._slot.acquire() as loadout:
            used = None if loadout.reranker is None else loadout.reranker.name
        return [name for name in self._factory.rerankers_here() if name != used]

    async def compare(self, query: str, hits: Sequence[Hit], reranker: str) -> dict[int, float]:
        """Return the ``rerank_score`` that another reranker gives each hit; it is loaded for this, and let go.

        Raises:
            BadRequest: it is not on this machine, or cannot be used.
        """
        if reranker not in self.rerankers():
            raise BadRequest("There is no such reranker on this machine to compare with.")
        candidates = [{**candidate(hit.message, None), "prior": hit.fused_score} for hit in hits[:COMPARED_AT_MOST]]

        def scored(loadout: Loadout) -> dict[int, float]:
            service = self._factory.reranker(loadout.profile, reranker)
            try:
                rows = service.rerank_results(query, candidates, service.score_field)
            finally:
                service.close()
            return {int(row["id"]): float(row["rerank_score"]) for row in rows}

        with self._slot.acquire() as loadout:
            try:
                return await loadout.worker.run(scored, loadout, priority=Priority.BACKGROUND)
            except MODEL_ERRORS as error:
                raise BadRequest(f"The reranker {reranker} cannot be used here: {type(error).__name__}.") from error

    async def judge(self, scope: Scope, query: str, message_id: int, right: bool, user_id: int) -> None:
        """Record whether a message answers a question, for the server's own evaluation set.

        Args:
            scope: what the judge may read.
            query: the question.
            message_id: the message.
            right: whether it answers.
            user_id: who says so.

        Raises:
            BadRequest: the message is not remembered, or not within the scope.
        """
        marked = await asyncio.to_thread(self._repository.judgements.mark, scope, query, message_id, right, user_id)
        if not marked:
            raise BadRequest("There is no such message that you can read.")

    async def judged(self, scope: Scope) -> list[Judged]:
        """Return the judged questions of a scope."""
        return await asyncio.to_thread(self._repository.judgements.of_scope, scope)
