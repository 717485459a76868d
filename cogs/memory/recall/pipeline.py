"""Recall: the query is understood and embedded, candidates are found within the scope, fused, reranked."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cogs.memory.caches.memory_caches import MemoryCaches
from cogs.memory.embedding.service import EmbeddingService
from cogs.memory.errors import BadRequest
from cogs.memory.inference.device_worker import DeadlineExceeded, Priority
from cogs.memory.inference.model_slot import ModelSlot
from cogs.memory.models.loadout import MODEL_ERRORS, Loadout
from cogs.memory.recall.asking import asks
from cogs.memory.recall.blending import blended
from cogs.memory.recall.changes import LOOKED_AT, newest_first
from cogs.memory.recall.conversation import conversation_query
from cogs.memory.recall.evidence import answers_first
from cogs.memory.recall.fusion import load_weights, weights_file
from cogs.memory.recall.latency import Latency
from cogs.memory.recall.limits import MAX_LIMIT, QUERY_CHARACTERS, checked_query
from cogs.memory.recall.query import QueryInfo, analyse, is_no_word, repeats, says_nothing, whole_weight
from cogs.memory.recall.search import DEPTH, SHALLOW, Candidates, find_candidates
from cogs.memory.records import Filters, Hit, Reach, RecallRequest, RecallResult, Scope
from cogs.memory.storage.repository import Repository
from cogs.memory.text.languages import outside_of
from cogs.memory.text.model_input import body, candidate

log = logging.getLogger(__name__)
AUTHORS_KNOWN = 500
MANY = 6
"""More questions at once than this are searched less deep, so that they are answered at all."""
UNKNOWN_WORD_SCORE = 0.2
UNKNOWN_WORD_FUSED = 0.02
"""What a message has to reach where the question is one word that no message holds and nobody could say."""
EVIDENCE_HITS = 8
EVIDENCE_SCORE = 0.5
EVIDENCE_DEADLINES = 4
"""Writing takes longer than scoring: this many times the profile's deadline for scoring."""


class Recall:
    """Answers questions from the memory.

    ``latency`` holds the times of the last requests, ``last_error`` what a model failed at last.

    Args:
        repository: the rows and the keyword index.
        slot: the models in use, with their indexes.
        caches: who wrote where, and how far the memory reaches.
    """

    def __init__(self, repository: Repository, slot: ModelSlot[Loadout], caches: MemoryCaches) -> None:
        self.latency = Latency()
        self.last_error: str | None = None
        self._repository = repository
        self._slot = slot
        self._caches = caches
        self._asking = 0

    async def recall(self, request: RecallRequest) -> RecallResult:
        """Return what the memory holds on a query within the scope of its reader, the best first.

        Raises:
            BadRequest: the query is empty or too long, or the limit is not between 1 and 50.
            StorageError: the database cannot be read.
        """
        if not 1 <= request.limit <= MAX_LIMIT:
            raise BadRequest(f"The limit must lie between 1 and {MAX_LIMIT}.")
        query = checked_query(request.query)
        if says_nothing(query):
            return await self._nothing(request.scope)
        started = time.perf_counter()
        now = request.asked_at or dt.datetime.now(dt.UTC)
        wording = conversation_query(query, request.turns)
        self._asking += 1  # before anything is waited for: who waits for a thread is part of the crowd
        try:
            info = await asyncio.to_thread(self._understood, wording, request.scope, now)
            with self._slot.acquire() as loadout:
                result = await self._recall_with(loadout, request, info, started)
        finally:
            self._asking -= 1
        self.latency.add(result.seconds)
        self.latency.count_degraded(result.degraded)
        return result

    async def _nothing(self, scope: Scope) -> RecallResult:
        """Return that nothing was found, for a query that asks for nothing."""
        reach = await asyncio.to_thread(self._caches.reach_of, scope)
        stages: dict[str, list[tuple[int, float]]] = {"keyword": [], "semantic": [], "fused": [], "reranked": []}
        return RecallResult((), reach, self._slot.current.profile.name, stages=stages)

    def _understood(self, wording: str, scope: Scope, now: dt.datetime) -> QueryInfo:
        authors = self._caches.author_names
        info = analyse(wording, authors.of(scope.channel_ids, AUTHORS_KNOWN), now)
        return replace(info, names_share=authors.share(scope.channel_ids, info.names)) if info.names else info

    async def similar(self, message_id: int, scope: Scope, limit: int = 10) -> RecallResult:
        """Return messages that say something like one message, which itself is left out.

        Raises:
            BadRequest: the message is not remembered, or not within the scope; both read the same.
        """
        found = await asyncio.to_thread(self._repository.search.messages, [message_id], scope)
        if message_id not in found or not body(found[message_id]):
            raise BadRequest("This message is not in the memory, or holds no text to compare.")
        text = checked_query(body(found[message_id])[:QUERY_CHARACTERS])
        return await self.recall(
            RecallRequest(text, scope, Filters(), limit=limit, repeated="any", exclude_ids=frozenset({message_id}))
        )

    async def _recall_with(
        self, loadout: Loadout, request: RecallRequest, info: QueryInfo, started: float
    ) -> RecallResult:
        seconds: dict[str, float] = {}
        vector, degraded = await self._embed_query(loadout, info, seconds)
        drops = loadout.cache.drops
        busy = self._asking > MANY
        if busy:
            degraded = degraded or "Many people are asking at the moment, so the search looked less deep than usual."
        found = await asyncio.to_thread(
            find_candidates,
            self._repository,
            loadout.indexes,
            info,
            vector,
            request.scope,
            request.filters,
            self._caches.thread_titles,
            request.exclude_ids,
            rows=max(loadout.profile.candidates, request.limit),
            depth=SHALLOW if busy else DEPTH,
            weights=load_weights(weights_file(loadout.embedder.spec.name)),
        )
        seconds.update(found.seconds)
        hits = [Hit(found.messages[f.message_id], f.score) for f in found.fused if f.message_id in found.messages]
        # An echo of the question is not judged: it would take its share of what is certain from the answer.
        echoes = [hit for hit in hits if _is_echo(request, hit)]
        hits = [hit for hit in hits if hit not in echoes]
        head = hits[: loadout.profile.candidates]
        reranker = None
        reranked: list[Hit] | None = None
        judged: list[tuple[int, float]] = []
        unread = None if loadout.reranker is None else outside_of(info.query, loadout.reranker.spec.languages)
        if unread is not None:
            degraded = (
                f"The reranker of this profile does not read {unread}; these are in the order of the first search."
            )
        elif loadout.reranker is not None and head:
            before = time.perf_counter()
            reranked, problem = await self._rerank(loadout, info.query, head, found, request.limit, drops)
            seconds["rerank"] = time.perf_counter() - before
            degraded = problem or degraded
            if reranked is not None:
                reranker = loadout.reranker.name
                judged = [(hit.message.id, hit.rerank_score or 0.0) for hit in reranked]
                near = await asyncio.to_thread(
                    hit_vectors, self._repository, loadout.embedder.model_key, reranked[:LOOKED_AT]
                )
                reranked = newest_first(info, reranked, near)
            if reranked is not None and request.evidence and loadout.reranker.explains:
                before = time.perf_counter()
                reranked = await self._with_evidence(loadout, info.query, reranked, request.limit, found)
                seconds["evidence"] = time.perf_counter() - before
        elif loadout.reranker is None:
            degraded = degraded or self._without_reranker(loadout)
        seconds["recall"] = time.perf_counter() - started
        ordered = [*(hits if reranked is None else [*reranked, *hits[len(head) :]]), *echoes]
        # A single word that nobody wrote and nobody could say is a slip or none: only what surely fits is shown for it.
        unknown = len(info.terms) == 1 and not found.keyword and is_no_word(info.terms[0])
        least = loadout.profile.min_score
        shown = [hit for hit in (hits if reranked is None else reranked) if _fits(hit, least, unknown=unknown)]
        if echoes and not unknown and request.repeated == "last":
            shown = [*shown[: max(request.limit - 1, 1)], echoes[0]]
        if loadout.reranker is not None:
            shown = await asyncio.to_thread(self._as_they_stand, shown, request.scope)
        reach = await asyncio.to_thread(self._caches.reach_of, request.scope) if not shown else Reach(0, 0, None)
        return RecallResult(
            hits=tuple(shown[: request.limit]),
            reach=reach,
            profile=loadout.profile.name,
            reranker=reranker,
            degraded=degraded,
            seconds=seconds,
            stages=_stages(found, ordered, judged) if request.explain else {},
        )

    def _as_they_stand(self, hits: list[Hit], scope: Scope) -> list[Hit]:
        """Return the hits that still exist, as they are now: a model may have taken seconds since they were read."""
        now = self._repository.search.messages([hit.message.id for hit in hits], scope)
        standing = [(hit, now[hit.message.id]) for hit in hits if hit.message.id in now]
        return [
            replace(hit, message=message, evidence=hit.evidence if message.content == hit.message.content else None)
            for hit, message in standing
        ]

    def _without_reranker(self, loadout: Loadout) -> str | None:
        if loadout.problem is not None:
            return "The reranker is not available, so these are in the order of the first search."
        return f"The profile {loadout.profile.name} has no reranker; these are in the order of the first search."

    async def _embed_query(
        self, loadout: Loadout, info: QueryInfo, seconds: dict[str, float]
    ) -> tuple[npt.NDArray[np.float32] | None, str | None]:
        before = time.perf_counter()
        try:
            vector = await loadout.worker.run(
                embedded,
                loadout.embedder,
                info,
                priority=Priority.INTERACTIVE,
                deadline=loadout.profile.deadline_ms / 1000,
            )
        except DeadlineExceeded:
            self.last_error = "the embedder missed its deadline"
        except MODEL_ERRORS as error:
            self.last_error = f"the embedder failed: {error}"
            log.warning("the query could not be embedded", exc_info=error)
        else:
            seconds["embed"] = time.perf_counter() - before
            return vector, None
        return None, "The search by meaning is not available at the moment; these were found by their words."

    async def _with_evidence(
        self, loadout: Loadout, query: str, reranked: list[Hit], limit: int, found: Candidates
    ) -> list[Hit]:
        """Return the hits with the evidence in those that matter; without it where that takes too long or fails."""
        assert loadout.reranker is not None
        head = [hit for hit in reranked[: min(limit, EVIDENCE_HITS)] if (hit.rerank_score or 0) >= EVIDENCE_SCORE]
        if not head:
            return reranked
        rows = [
            {**_candidate(hit, found), "rerank_score": hit.rerank_score, "rerank_raw": hit.raw_score} for hit in head
        ]
        try:
            scores = await loadout.worker.run(
                loadout.reranker.explain,
                query,
                rows,
                loadout.reranker.score_field,
                priority=Priority.INTERACTIVE,
                deadline=EVIDENCE_DEADLINES * loadout.profile.deadline_ms / 1000,
            )
        except DeadlineExceeded:
            self.last_error = f"the reranker {loadout.reranker.name} took too long to write evidence"
            return reranked
        except MODEL_ERRORS as error:
            self.last_error = f"the reranker {loadout.reranker.name} failed to write evidence: {error}"
            log.warning("no evidence was written", exc_info=error)
            return reranked
        written = {
            hit.message.id: replace(hit, evidence=score.evidence, contribution=score.contribution)
            for hit, score in zip(head, scores, strict=True)
        }
        return [written.get(hit.message.id, hit) for hit in reranked]

    async def _rerank(
        self, loadout: Loadout, query: str, head: list[Hit], found: Candidates, limit: int, drops: int
    ) -> tuple[list[Hit] | None, str | None]:
        """Return the hits in the reranker's order, or None and the sentence that tells the reader why not."""
        assert loadout.reranker is not None
        candidates = [_candidate(hit, found) for hit in head]
        seconds = loadout.profile.deadline_ms / 1000
        try:
            scored = await loadout.worker.run(
                loadout.reranker.rerank_results,
                query,
                candidates,
                loadout.reranker.score_field,
                None if loadout.profile.early_exit is None else limit,
                drops,
                priority=Priority.INTERACTIVE,
                deadline=seconds,
            )
        except DeadlineExceeded:
            self.last_error = f"the reranker {loadout.reranker.name} missed its deadline of {seconds:g} s"
            return None, (
                f"The reranker took longer than {seconds:g} s, so these are in the order of the first search."
            )
        except MODEL_ERRORS as error:
            self.last_error = f"the reranker {loadout.reranker.name} failed: {error}"
            log.warning("the reranker failed", exc_info=error)
            return None, "The reranker failed, so these are in the order of the first search."
        by_id = {hit.message.id: hit for hit in head}
        weight = loadout.profile.blend
        hits = [
            replace(
                by_id[c["id"]],
                rerank_score=blended(c["rerank_score"], by_id[c["id"]].fused_score, weight),
                raw_score=c["rerank_raw"],
                evidence=c["evidence"],
                contribution=c["contribution"],
            )
            for c in scored
        ]
        hits = sorted(hits, key=lambda hit: -(hit.rerank_score or 0.0)) if weight else hits
        return answers_first(query, hits, found.previous), None


def embedded(embedder: EmbeddingService, info: QueryInfo) -> npt.NDArray[np.float32]:
    """Return the unit vector of a query, shape (dim,): with less of its members' names for a model that asks for it."""
    whole = embedder.embed_query(info.query)
    if not embedder.spec.cuts_names or info.meaning in ("", info.query):
        return whole
    vector = whole_weight(info.names_share) * whole + embedder.embed_query(info.meaning)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def hit_vectors(repository: Repository, model_key: str, hits: Sequence[Hit]) -> dict[int, npt.NDArray[np.float32]]:
    """Return the stored unit vectors of hits by message id, as far as they have one."""
    found: dict[int, npt.NDArray[np.float32]] = {}
    for _, message_ids, _, vectors in repository.vectors.read(model_key, [hit.message.id for hit in hits]):
        found.update(zip(message_ids.tolist(), vectors, strict=True))
    return found


def _fits(hit: Hit, least: float, *, unknown: bool) -> bool:
    """Tell whether a hit is shown; ``unknown`` where the question is no word that anybody wrote."""
    if hit.rerank_score is None:
        return not unknown or hit.fused_score >= UNKNOWN_WORD_FUSED
    return hit.rerank_score >= max(least, UNKNOWN_WORD_SCORE if unknown else 0.0)


def _is_echo(request: RecallRequest, hit: Hit) -> bool:
    """Tell whether a hit only repeats the question; where answers are wanted, a query need not look like one."""
    if request.repeated == "any" or not (request.repeated == "none" or asks(request.query)):
        return False
    return repeats(request.query, hit.message.content)


def _candidate(hit: Hit, found: Candidates) -> dict[str, Any]:
    title = hit.message.channel_name if hit.message.channel_id in found.threads else ""
    return {**candidate(hit.message, found.parents.get(hit.message.id), title), "prior": hit.fused_score}


def _stages(
    found: Candidates, ordered: list[Hit], judged: list[tuple[int, float]]
) -> dict[str, list[tuple[int, float]]]:
    fused = [(f.message_id, f.score) for f in found.fused]
    first = [(hit.message.id, hit.fused_score if hit.rerank_score is None else hit.rerank_score) for hit in ordered]
    placed = {message_id for message_id, _ in first}
    rest = [(message_id, score) for message_id, score in fused if message_id not in placed]
    return {
        "keyword": found.keyword,
        "semantic": found.semantic,
        "fused": fused,
        "judged": judged,
        "reranked": first + rest,
    }
