"""The search: semantic and keyword candidates within a scope, fused into one order, with the rows they stand for.

Synchronous; the service runs it on a thread. The scope is a parameter of every step, never a filter on results.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cogs.memory.recall.fusion import Fused, FusionMessage, Pool, fuse
from cogs.memory.recall.query import QueryInfo
from cogs.memory.records import Filters, Scope, StoredMessage
from cogs.memory.storage.repository import Repository
from cogs.memory.text.terms import keyword_query
from cogs.memory.vector_store.guild_indexes import GuildIndexes

DEPTH = 150
"""Candidates of each stage: enough that the reranker's 50 are rarely limited by one of them."""
SHALLOW = 40
"""Candidates of each stage while many people ask at once: a third of the work, at some cost in what is found."""
EXPANDED = 25
"""So many of each stage's best bring their neighbours along as candidates: an answer often follows the words asked."""


@dataclass
class Candidates:
    """What the first stage found, best first; ``seconds`` by stage.

    ``messages`` are the rows of the best fused ones, ``parents`` those of the messages that they answer.
    """

    keyword: list[tuple[int, float]]
    semantic: list[tuple[int, float]]
    fused: list[Fused]
    messages: dict[int, StoredMessage]
    parents: dict[int, StoredMessage]
    seconds: dict[str, float] = field(default_factory=dict)


def find_candidates(
    repository: Repository,
    indexes: GuildIndexes,
    info: QueryInfo,
    vector: npt.NDArray[np.float32] | None,
    scope: Scope,
    filters: Filters,
    exclude: frozenset[int] = frozenset(),
    *,
    rows: int,
    depth: int = DEPTH,
) -> Candidates:
    """Return the candidates for a query within a scope, the best ``rows`` of them with their messages.

    ``vector`` has shape (dim,), or is None where the query could not be embedded: then keywords alone decide.

    Args:
        repository: the rows and the keyword index.
        indexes: the vectors.
        info: what the query asks for.
        vector: of the query, shape (dim,); ``None`` where it could not be embedded: then keywords alone decide.
        scope: the channels that the reader may see.
        filters: which of their messages may be found.
        exclude: messages that must not be found.
        rows: how many candidates are read from the database.
        depth: how many candidates each of the two searches brings.
    """
    started = time.perf_counter()
    keyword = repository.keywords.candidates(keyword_query(info.query), scope, filters, depth)
    after_keyword = time.perf_counter()
    semantic = _semantic(repository, indexes, vector, scope, filters, depth)
    after_semantic = time.perf_counter()
    ids = {i for i, _ in keyword} | {i for i, _ in semantic}
    beside = repository.search.beside(ids, scope)
    first = {i for i, _ in [*keyword[:EXPANDED], *semantic[:EXPANDED]]}
    ids |= _permitted(repository, {n for i in first for n in beside.get(i, ()) if n is not None} - ids, scope, filters)
    pool = _pool(repository, indexes, ids - exclude, beside, exclude, vector, scope)
    # An id without a row was deleted a moment ago: it is left out here, and never removed from an index by a search.
    found = set(pool.candidates)
    keyword = [(i, score) for i, score in keyword if i in found]
    semantic = [(i, score) for i, score in semantic if i in found]
    fused = fuse(info, pool)
    messages = repository.search.messages([f.message_id for f in fused[:rows]], scope)
    parents = repository.search.messages({m.reply_to_id for m in messages.values() if m.reply_to_id is not None}, scope)
    return Candidates(
        keyword,
        semantic,
        fused,
        messages,
        parents,
        {
            "keyword": after_keyword - started,
            "semantic": after_semantic - after_keyword,
            "fuse": time.perf_counter() - after_semantic,
        },
    )


def _semantic(
    repository: Repository,
    indexes: GuildIndexes,
    vector: npt.NDArray[np.float32] | None,
    scope: Scope,
    filters: Filters,
    depth: int,
) -> list[tuple[int, float]]:
    if vector is None:
        return []
    allowed = repository.search.allowed_ids(scope, filters)
    found: list[tuple[int, float]] = []
    for guild_id, channel_ids in scope.channels.items():
        if channel_ids:
            found.extend(indexes.store(guild_id).search(vector, channel_ids, depth, allowed))
    return best(found, depth)


def _permitted(repository: Repository, ids: set[int], scope: Scope, filters: Filters) -> set[int]:
    """Return those ids that the filters leave; neighbours of a hit must meet what the person asked for, too."""
    allowed = repository.search.allowed_ids(scope, filters)
    return ids if allowed is None else ids & set(allowed.tolist())


def _pool(
    repository: Repository,
    indexes: GuildIndexes,
    candidates: set[int],
    beside: dict[int, tuple[int | None, int | None]],
    exclude: frozenset[int],
    vector: npt.NDArray[np.float32] | None,
    scope: Scope,
) -> Pool:
    """Return the candidates that exist and their neighbours as fusion reads them."""
    beside = beside | repository.search.beside(candidates - beside.keys(), scope)
    ids = candidates | ({n for i in candidates for n in beside.get(i, ()) if n is not None} - exclude)
    rows = repository.search.passages(ids, scope)
    cosines = _cosines(indexes, vector, scope, ids)
    # A message that still waits for its vector is neither near nor far.
    usual = sum(cosines.values()) / len(cosines) if cosines else 0.0
    passages = {
        i: FusionMessage(body, cosines.get(i, usual), author, content, created_ms)
        for i, (author, content, body, created_ms) in rows.items()
    }
    return Pool([i for i in candidates if i in passages], passages, beside)


def _cosines(
    indexes: GuildIndexes, vector: npt.NDArray[np.float32] | None, scope: Scope, ids: Collection[int]
) -> dict[int, float]:
    if vector is None or not ids:
        return {}
    wanted = np.fromiter(sorted(ids), dtype=np.int64)
    found: dict[int, float] = {}
    for guild_id, channel_ids in scope.channels.items():
        if channel_ids:
            found.update(indexes.store(guild_id).search(vector, channel_ids, len(wanted), wanted))
    return found


def best(scored: Sequence[tuple[int, float]], limit: int) -> list[tuple[int, float]]:
    """Return the ``limit`` best of ``(id, score)``; of equal scores the newer message first."""
    return sorted(scored, key=lambda pair: (-pair[1], -pair[0]))[:limit]
