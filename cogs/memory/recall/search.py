"""The search: semantic and keyword candidates within a scope, fused into one order, with the rows they stand for.

Synchronous; the service runs it on a thread. The scope is a parameter of every step, never a filter on results.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from cogs.memory.caches.thread_titles import ThreadTitles
from cogs.memory.recall.fusion import Fused, FusionWeights, fuse
from cogs.memory.recall.pool import FusionMessage, Pool, Thread, title_match, with_cosines
from cogs.memory.recall.query import QueryInfo
from cogs.memory.records import Filters, Scope, StoredMessage
from cogs.memory.storage.repository import Repository
from cogs.memory.storage.search_rows import BEFORE, Neighbours
from cogs.memory.text.model_input import says_little
from cogs.memory.text.terms import keyword_query
from cogs.memory.vector_store.guild_indexes import GuildIndexes

DEPTH = 150
"""Candidates of each stage: enough that the reranker's 50 are rarely limited by one of them."""
SHALLOW = 40
"""Candidates of each stage while many people ask at once: a third of the work, at some cost in what is found."""
EXPANDED = 25
"""So many of each stage's best bring their neighbours along as candidates: an answer often follows the words asked."""

THREADS_CALLED = 5
"""So many threads whose title the query holds are looked into, each by its first messages."""
THREAD_MESSAGES = 30


@dataclass
class Candidates:
    """What the first stage found, best first; ``seconds`` by stage.

    ``messages`` are the rows of the best fused ones, ``parents`` by message what it answers: what it
    replies to, or the turn before one that says little. ``previous`` is the message before each in its channel, as far
    as is known; ``threads`` are the channels of the scope that are threads.
    """

    keyword: list[tuple[int, float]]
    semantic: list[tuple[int, float]]
    fused: list[Fused]
    messages: dict[int, StoredMessage]
    parents: dict[int, StoredMessage]
    previous: Mapping[int, int] = field(default_factory=dict)
    threads: frozenset[int] = frozenset()
    seconds: dict[str, float] = field(default_factory=dict)


def find_candidates(
    repository: Repository,
    indexes: GuildIndexes,
    info: QueryInfo,
    vector: npt.NDArray[np.float32] | None,
    scope: Scope,
    filters: Filters,
    titles: ThreadTitles,
    exclude: frozenset[int] = frozenset(),
    *,
    rows: int,
    depth: int = DEPTH,
    weights: FusionWeights | None = None,
) -> Candidates:
    """Return the candidates for a query within a scope, the best ``rows`` of them with their messages.

    Args:
        repository: the rows and the keyword index.
        indexes: the vectors.
        info: what the query asks for.
        vector: of the query, shape (dim,); ``None`` where it could not be embedded: then keywords alone decide.
        scope: the channels that the reader may see.
        filters: which of their messages may be found.
        titles: the threads of servers by the words of their titles.
        exclude: messages that must not be found.
        rows: how many candidates are read from the database.
        depth: how many candidates each of the two searches brings.
        weights: of the fusion; ``None`` takes those that serve every embedder.
    """
    started = time.perf_counter()
    keyword = repository.keywords.candidates(keyword_query(info.query), scope, filters, depth)
    after_keyword = time.perf_counter()
    allowed = repository.search.allowed_ids(scope, filters)
    semantic = _semantic(indexes, vector, scope, allowed, depth)
    after_semantic = time.perf_counter()
    ids = {i for i, _ in keyword} | {i for i, _ in semantic}
    threads, in_threads = _matching_threads(repository, info, titles, scope)
    around = repository.search.neighbours(ids | in_threads, scope)
    first = {i for i, _ in [*keyword[:EXPANDED], *semantic[:EXPANDED]]}
    beside = {n for i in first if i in around for n in (*around[i].before[:1], *around[i].after[:1])}
    more = (beside | (in_threads & around.keys())) - ids
    ids |= more if allowed is None else more & set(allowed.tolist())  # what a person asked for holds for these, too
    pool = _pool(repository, ids - exclude, around, exclude, threads, scope)
    cosines = dict(semantic) | _cosines(indexes, vector, scope, pool.passages.keys() - dict(semantic).keys())
    pool = with_cosines(pool, cosines)
    # An id without a row was deleted a moment ago: it is left out here, and never removed from an index by a search.
    found = set(pool.candidates)
    keyword = [(i, score) for i, score in keyword if i in found]
    semantic = [(i, score) for i, score in semantic if i in found]
    fused = fuse(info, pool, weights)
    messages = repository.search.messages([f.message_id for f in fused[:rows]], scope)
    answered = _answered(messages, pool)
    parents = repository.search.messages(set(answered.values()), scope)
    return Candidates(
        keyword,
        semantic,
        fused,
        messages,
        {i: parents[parent] for i, parent in answered.items() if parent in parents},
        pool.previous,
        frozenset(threads),
        {
            "keyword": after_keyword - started,
            "semantic": after_semantic - after_keyword,
            "fuse": time.perf_counter() - after_semantic,
        },
    )


def _answered(messages: Mapping[int, StoredMessage], pool: Pool) -> dict[int, int]:
    """Return by message what it replies to, or the turn before one that says little by itself."""
    found = {i: m.reply_to_id for i, m in messages.items() if m.reply_to_id is not None}
    before = {i: pool.previous[i] for i, m in messages.items() if i in pool.previous and says_little(m)}
    near = {
        i: p for i, p in before.items() if p in pool.passages and pool.passages[p].author != messages[i].author_name
    }
    return found | near


def _semantic(
    indexes: GuildIndexes,
    vector: npt.NDArray[np.float32] | None,
    scope: Scope,
    allowed: npt.NDArray[np.int64] | None,
    depth: int,
) -> list[tuple[int, float]]:
    if vector is None:
        return []
    found: list[tuple[int, float]] = []
    for guild_id, channel_ids in scope.channels.items():
        if channel_ids:
            found.extend(indexes.store(guild_id).search(vector, channel_ids, depth, allowed))
    return best(found, depth)


def _matching_threads(
    repository: Repository, info: QueryInfo, titles: ThreadTitles, scope: Scope
) -> tuple[dict[int, Thread], set[int]]:
    """Return the threads of the scope by channel, and the first messages of those whose title the query holds."""
    threads = {
        channel: Thread(" ".join(terms), match=title_match(info.telling, terms))
        for guild_id, channel_ids in scope.channels.items()
        for channel, terms in titles.of(guild_id).items()
        if channel in channel_ids
    }
    called = sorted((c for c, thread in threads.items() if thread.match), key=lambda c: (-threads[c].match, -c))
    firsts = repository.search.first_of(called[:THREADS_CALLED], scope, THREAD_MESSAGES)
    threads |= {channel: replace(threads[channel], starter=ids[0]) for channel, ids in firsts.items() if ids}
    # A thread has the id of the message it was made from, wherever that stands.
    return threads, {i for ids in firsts.values() for i in ids} | set(called[:THREADS_CALLED])


def _pool(
    repository: Repository,
    candidates: set[int],
    around: dict[int, Neighbours],
    exclude: frozenset[int],
    threads: dict[int, Thread],
    scope: Scope,
) -> Pool:
    """Return the candidates that exist, what stands around them and the threads they stand in, without cosines."""
    previous: dict[int, int] = {}
    following: dict[int, int] = {}
    for message_id, (_, _, before, after) in around.items():
        chain = [*reversed(before), message_id, *after]
        for earlier, later in pairwise(chain):
            previous[later], following[earlier] = earlier, later
    their_threads = {around[i].channel for i in candidates & around.keys()} & threads.keys()
    chains = Pool([], {}, previous, following)
    near = {n for i in candidates for n in chains.before(i, BEFORE)}
    near |= {following[i] for i in candidates & following.keys()}
    near |= {reply for i in candidates & around.keys() if (reply := around[i].reply_to) is not None}
    rows = repository.search.passages(candidates | ((near | their_threads) - exclude), scope)
    passages = {
        i: FusionMessage(row.body, 0.0, row.author, row.content, row.created_ms, row.reply_to, row.channel)
        for i, row in rows.items()
    }
    starters = {c: replace(threads[c], starter=c if c in passages else threads[c].starter) for c in their_threads}
    return Pool([i for i in candidates if i in passages], passages, previous, following, starters)


def _cosines(
    indexes: GuildIndexes, vector: npt.NDArray[np.float32] | None, scope: Scope, ids: Collection[int]
) -> dict[int, float]:
    if vector is None or not ids:
        return {}
    wanted = np.fromiter(ids, dtype=np.int64)
    found: dict[int, float] = {}
    for guild_id, channel_ids in scope.channels.items():
        if channel_ids:
            found.update(indexes.store(guild_id).cosines(vector, channel_ids, wanted))
    return found


def best(scored: Sequence[tuple[int, float]], limit: int) -> list[tuple[int, float]]:
    """Return the ``limit`` best of ``(id, score)``; of equal scores the newer message first."""
    return sorted(scored, key=lambda pair: (-pair[1], -pair[0]))[:limit]
