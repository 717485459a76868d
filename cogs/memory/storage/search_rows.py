"""Reading for search: rows by id, neighbours, who wrote where. Every query carries the scope of its reader."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from cogs.memory.records import Filters, Scope, StoredMessage
from cogs.memory.storage.connection import CHANNELS, MESSAGES, Database, stored_message
from cogs.memory.storage.labels import JUDGED
from cogs.memory.storage.postgresql_keywords import KEYWORDS
from cogs.memory.storage.scope import MESSAGE_LABELS, ScopedReader, at_once, behind_the_index

BEFORE, AFTER = 3, 2
"""So many messages around one are looked up: an answer may stand some turns after its question."""


_PLACE = (MESSAGES.c.id, MESSAGES.c.channel_id, MESSAGES.c.reply_to_id)


class Neighbours(NamedTuple):
    """A message's channel, what it replies to, and the ids before and after it in its channel, the nearest first."""

    channel: int
    reply_to: int | None
    before: tuple[int, ...]
    after: tuple[int, ...]


class PassageRow(NamedTuple):
    """What fusion reads of a message; ``body`` are the terms of the keyword index with spaces between them."""

    author: str
    content: str
    body: str
    created_ms: int
    reply_to: int | None
    channel: int


class SearchRows:
    """Reads what a search found; keeps nothing of its own, of a person or otherwise."""

    def __init__(self, database: Database, scoped: ScopedReader) -> None:
        self._database = database
        self._scoped = scoped

    def allowed_ids(self, scope: Scope, filters: Filters) -> npt.NDArray[np.int64] | None:
        """Return the ids that the filters leave within the scope, or None where nothing is filtered."""
        conditions = self._scoped.filtered(filters)
        if not conditions:
            return None
        with self._database.reading() as db:
            ids = db.scalars(sa.select(MESSAGES.c.id).where(self._scoped.in_scope(scope), *conditions))
            return np.fromiter(ids, dtype=np.int64)

    def messages(self, message_ids: Collection[int], scope: Scope) -> dict[int, StoredMessage]:
        """Return the messages among ``message_ids`` that exist and lie in the scope now."""
        if not message_ids:
            return {}
        labels: dict[int, list[str]] = {}
        with self._database.reading() as db:
            values = self._scoped.values(message_ids, scope)
            rows = db.execute(self._scoped.prepared(_whole_messages, scope), values).mappings().fetchall()
            for message_id, name in db.execute(self._scoped.prepared(_their_labels, scope), values).fetchall():
                labels.setdefault(message_id, []).append(name)
        return {
            row["id"]: stored_message(row, row["channel_name"] or "", sorted(labels.get(row["id"], ()))) for row in rows
        }

    def listed(self, scope: Scope, filters: Filters, *, newest: bool, limit: int) -> list[int]:
        """Return the ids of the newest, or oldest, messages of the scope that the filters leave."""
        order = MESSAGES.c.id.desc() if newest else MESSAGES.c.id
        query = sa.select(MESSAGES.c.id).where(self._scoped.in_scope(scope), *self._scoped.filtered(filters))
        with self._database.reading() as db:
            return list(db.scalars(query.order_by(order).limit(limit)))

    def span(self, scope: Scope, after_ms: int, before_ms: int, limit: int, after_id: int = 0) -> list[StoredMessage]:
        """Return the newest messages of the scope between two times, the oldest of them first; without labels.

        Args:
            scope: what the reader may read.
            after_ms: the first moment, in milliseconds.
            before_ms: the last moment.
            limit: how many at most.
            after_id: only messages after this one, where two have the same time.
        """
        query = (
            sa.select(MESSAGES, CHANNELS.c.name.label("channel_name"))
            .join(CHANNELS, CHANNELS.c.id == MESSAGES.c.channel_id, isouter=True)
            .where(self._scoped.in_scope(scope), MESSAGES.c.created_ms >= after_ms, MESSAGES.c.created_ms <= before_ms)
            .where(MESSAGES.c.id > after_id)
            .order_by(MESSAGES.c.id.desc())
            .limit(limit)
        )
        with self._database.reading() as db:
            rows = db.execute(query).mappings().fetchall()
        return [stored_message(row, row["channel_name"] or "") for row in reversed(rows)]

    def last_said(self, author_id: int, scope: Scope) -> tuple[int, int] | None:
        """Return the id and the time in milliseconds of what somebody wrote last in a scope."""
        query = (
            sa.select(MESSAGES.c.id, MESSAGES.c.created_ms)
            .where(MESSAGES.c.author_id == author_id, self._scoped.in_scope(scope))
            .order_by(MESSAGES.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as db:
            row = db.execute(query).first()
        return None if row is None else (row[0], row[1])

    def around(self, message_id: int, scope: Scope, before: int, after: int) -> list[int]:
        """Return the ids of a message of the scope and of those right before and after it in its channel, in order.

        Empty where the message does not exist or lies outside of the scope.
        """
        inside = self._scoped.in_scope(scope)
        with self._database.reading() as db:
            channel = db.scalar(sa.select(MESSAGES.c.channel_id).where(MESSAGES.c.id == message_id, inside))
            if channel is None:
                return []
            there = sa.select(MESSAGES.c.id).where(MESSAGES.c.channel_id == channel, inside)
            earlier = there.where(MESSAGES.c.id < message_id).order_by(MESSAGES.c.id.desc()).limit(before)
            later = there.where(MESSAGES.c.id > message_id).order_by(MESSAGES.c.id).limit(after)
            return [*reversed(list(db.scalars(earlier))), message_id, *db.scalars(later)]

    def answers(self, message_id: int, scope: Scope, limit: int) -> list[int]:
        """Return the ids of the first replies to a message within the scope."""
        query = sa.select(MESSAGES.c.id).where(MESSAGES.c.reply_to_id == message_id, self._scoped.in_scope(scope))
        with self._database.reading() as db:
            return list(db.scalars(query.order_by(MESSAGES.c.id).limit(limit)))

    def neighbours(self, message_ids: Collection[int], scope: Scope) -> dict[int, Neighbours]:
        """Map messages of the scope to their channels and to the ids before and after each there, the nearest first."""
        if not message_ids:
            return {}
        sqlite = self._database.sqlite
        rows = self._scoped.read(_neighbours_on_sqlite if sqlite else _neighbours_on_postgresql, message_ids, scope)
        read = json.loads if sqlite else tuple
        return {row[0]: Neighbours(row[1], row[2], tuple(read(row[3])), tuple(read(row[4]))) for row in rows}

    def passages(self, message_ids: Collection[int], scope: Scope) -> dict[int, PassageRow]:
        """Map messages of the scope to what fusion reads of them."""
        if not message_ids:
            return {}
        build = _passages_on_sqlite if self._database.sqlite else _passages_on_postgresql
        rows = self._scoped.read(build, message_ids, scope)
        return {row[0]: PassageRow(row[1], row[2], row[3] or "", row[4], row[5], row[6]) for row in rows}

    def first_of(self, channel_ids: Collection[int], scope: Scope, each: int) -> dict[int, list[int]]:
        """Map channels of the scope to the ids of their first messages, the oldest first, up to ``each`` of them."""
        query = (
            sa.select(MESSAGES.c.channel_id, MESSAGES.c.id)
            .where(self._scoped.in_scope(scope))
            .order_by(MESSAGES.c.created_ms, MESSAGES.c.id)
            .limit(each)
        )
        found: dict[int, list[int]] = {}
        with self._database.reading() as db:
            for channel_id in channel_ids:
                rows = db.execute(query.where(MESSAGES.c.channel_id == channel_id))
                found[channel_id] = [row.id for row in rows]
        return found

    def channel_reach(self, channel_ids: Collection[int]) -> dict[int, tuple[int, int]]:
        """Map each channel that holds messages to their number and the time of the first, in milliseconds."""
        query = (
            sa.select(MESSAGES.c.channel_id, sa.func.count(), sa.func.min(MESSAGES.c.created_ms))
            .where(MESSAGES.c.channel_id.in_(self._database.ids(channel_ids)))
            .group_by(MESSAGES.c.channel_id)
        )
        with self._database.reading() as db:
            return {row[0]: (row[1], row[2]) for row in db.execute(query)}

    def authors(self, scope: Scope, prefix: str, limit: int) -> list[tuple[int, str]]:
        """Return ``(author id, latest name)`` of people who wrote in the scope and one of whose names holds ``prefix``.

        That is what others see, or the name of the account.
        """
        query = (
            sa.select(MESSAGES.c.author_id, MESSAGES.c.author_name, sa.func.count(), sa.func.max(MESSAGES.c.id))
            .where(self._scoped.in_scope(scope))
            .group_by(MESSAGES.c.author_id, MESSAGES.c.author_name)
        )
        if prefix:
            names = (MESSAGES.c.author_name, MESSAGES.c.author_username)
            holds = (sa.func.lower(name).contains(prefix.lower(), autoescape=True) for name in names)
            query = query.where(sa.or_(*holds))
        with self._database.reading() as db:
            rows = db.execute(query).fetchall()
        latest: dict[int, tuple[int, str]] = {}
        counts: dict[int, int] = {}
        for author_id, name, count, newest in rows:
            counts[author_id] = counts.get(author_id, 0) + count
            if newest > latest.get(author_id, (0, ""))[0]:
                latest[author_id] = (newest, name)
        ordered = sorted(latest, key=lambda author: (-counts[author], latest[author][1]))
        return [(author, latest[author][1]) for author in ordered[:limit]]

    def author_names(self, channel_ids: Collection[int]) -> dict[int, dict[str, int]]:
        """Map each channel to the names under which people wrote in it, with the number of their messages."""
        query = (
            sa.select(MESSAGES.c.channel_id, MESSAGES.c.author_name, sa.func.count())
            .where(MESSAGES.c.channel_id.in_(self._database.ids(channel_ids)))
            .group_by(MESSAGES.c.channel_id, MESSAGES.c.author_name)
        )
        names: dict[int, dict[str, int]] = {}
        with self._database.reading() as db:
            for channel_id, name, count in db.execute(query):
                names.setdefault(channel_id, {})[name] = count
        return names


def _whole_messages(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    channel = CHANNELS.c.name.label("channel_name")
    joined = MESSAGES.join(CHANNELS, CHANNELS.c.id == MESSAGES.c.channel_id, isouter=True)
    return sa.select(MESSAGES, channel).select_from(joined).where(condition)


def _their_labels(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    of = MESSAGE_LABELS.c.message_id == MESSAGES.c.id
    names = sa.select(MESSAGE_LABELS.c.message_id, MESSAGE_LABELS.c.name).select_from(MESSAGES.join(MESSAGE_LABELS, of))
    return names.where(condition, MESSAGE_LABELS.c.name != JUDGED)


def _neighbours_on_sqlite(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    def ids(side: sa.Subquery) -> sa.ScalarSelect[Any]:
        return sa.select(sa.func.json_group_array(side.c.id, type_=sa.Text)).scalar_subquery()

    before, after = _sides()
    sides = (ids(before).label("before"), ids(after).label("after"))
    return at_once(sa.select(*_PLACE, *sides).where(condition))


def _neighbours_on_postgresql(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    before, after = (sa.func.array(sa.select(side.c.id).scalar_subquery()) for side in _sides())
    return sa.select(*_PLACE, before.label("before"), after.label("after")).where(condition)


def _sides() -> tuple[sa.Subquery, sa.Subquery]:
    other = MESSAGES.alias("other")
    here = other.c.channel_id == MESSAGES.c.channel_id
    ms, number = other.c.created_ms, other.c.id
    # The time comes first because the index holds it; messages of one millisecond follow each other by id.
    before = (
        sa.select(number)
        .where(here, ms <= MESSAGES.c.created_ms, sa.or_(ms < MESSAGES.c.created_ms, number < MESSAGES.c.id))
        .order_by(ms.desc(), number.desc())
        .limit(BEFORE)
    )
    after = (
        sa.select(number)
        .where(here, ms >= MESSAGES.c.created_ms, sa.or_(ms > MESSAGES.c.created_ms, number > MESSAGES.c.id))
        .order_by(ms, number)
        .limit(AFTER)
    )
    return before.correlate(MESSAGES).subquery("earlier"), after.correlate(MESSAGES).subquery("later")


def _passages(body: sa.ColumnElement[Any], index: sa.FromClause, on: sa.ColumnElement[bool]) -> sa.Select[Any]:
    of = MESSAGES.c
    columns = (of.id, of.author_name, of.content, body, of.created_ms, of.reply_to_id, of.channel_id)
    return sa.select(*columns).select_from(MESSAGES.join(index, on, isouter=True))


def _passages_on_sqlite(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    index = behind_the_index()
    return at_once(_passages(index.c.c0, index, MESSAGES.c.id == index.c.id).where(condition))


def _passages_on_postgresql(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return _passages(KEYWORDS.c.words, KEYWORDS, MESSAGES.c.id == KEYWORDS.c.rowid).where(condition)
