"""The keyword index on SQLite: the messages of a scope that hold the words of a question."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from cogs.memory.records import Filters, Scope
from cogs.memory.storage.bm25 import K1, B, idf, place, ranked
from cogs.memory.storage.connection import MESSAGES, Database
from cogs.memory.storage.fts5_directory import forget_in_directory
from cogs.memory.storage.keyword_counts import TermCounts, counted_by_sqlite
from cogs.memory.storage.keyword_plan import NEWEST, any_of, plan
from cogs.memory.storage.keywords import Keywords
from cogs.memory.storage.scope import GUILD_UNINDEXED, ScopedReader, at_once, behind_the_index

MATCHES_AT_MOST = 5_000
"""Matches in the whole database of which each that lies in the scope is ranked: SQLite takes about 3 µs for each."""
PLACES_AT_MOST = 16
"""How many channels are asked for in the index itself. With more, looking up each match's channel is faster."""
AUTHOR_WEIGHT = 1.0
"""Weight of the author's name beside the body in BM25."""


class SqliteKeywords:
    """See :class:`~cogs.memory.storage.keywords.KeywordStore`. FTS5 counts and ranks where there is little to rank."""

    def __init__(self, database: Database, scoped: ScopedReader) -> None:
        self._database = database
        self._scoped = scoped
        self._counts = TermCounts(counted_by_sqlite)

    def candidates(self, terms: Sequence[str], scope: Scope, filters: Filters, limit: int) -> list[tuple[int, float]]:
        """Return ``(message id, BM25)`` of messages that hold any of ``terms``, best first."""
        if not terms or not scope.channel_ids:
            return []
        with self._database.reading() as db:
            documents = {term: n for term, n in self._counts.of(db, terms).items() if n}
            if not documents:
                return []
            if sum(documents.values()) > MATCHES_AT_MOST:
                return self._among_many(db, documents, scope, filters, limit)
            bm25: sa.ColumnElement[float] = sa.literal_column(f"-bm25(keywords, 1.0, {AUTHOR_WEIGHT}, 0.0)", sa.Float)
            return self._by_index(db, _keywords_join(), bm25, [_matching(any_of(documents))], scope, filters, limit)

    def _among_many(
        self, db: sa.Connection, documents: Mapping[str, int], scope: Scope, filters: Filters, limit: int
    ) -> list[tuple[int, float]]:
        """Rank a choice of the matches, see :mod:`cogs.memory.storage.keyword_plan`; SQLite only."""
        total = self._counts.total(db)
        channels = [channel for part in scope.channels.values() for channel in part]
        within, size = "", total
        if len(channels) <= PLACES_AT_MOST:
            places = [place(channel) for channel in channels]
            within, size = any_of(places), sum(self._counts.of(db, places).values())
        rarity = {term: idf(n, total) for term, n in documents.items()}
        found: dict[int, str] = {}
        for question, stricter in plan(documents, total, size, 2 * limit).questions():
            if len(found) < limit:
                best, all_seen = self._best_of(db, question, within, rarity, scope, filters, limit)
                found |= best
                if not all_seen and stricter is not None:
                    found |= self._best_of(db, stricter, within, rarity, scope, filters, limit)[0]
        return ranked(list(found.items()), rarity, limit)

    def _best_of(
        self,
        db: sa.Connection,
        match: str,
        within: str,
        rarity: Mapping[str, float],
        scope: Scope,
        filters: Filters,
        limit: int,
    ) -> tuple[dict[int, str], bool]:
        """Return the terms of those among the newest matches of a scope that hold most of the words, by id.

        The second value says whether these were all matches. ``within`` asks the index itself for the scope's channels,
        where it is not empty.
        """
        number = sa.literal_column("keywords.rowid", sa.BigInteger)
        conditions = self._scoped.filtered(filters)
        if not within:
            conditions.append(self._scoped.in_scope(scope, GUILD_UNINDEXED))
        newest = (
            sa.select(number.label("id"))
            .select_from(_keywords_join() if conditions else _keywords())
            .where(_matching(f"({within}) AND ({match})" if within else match), *conditions)
            .order_by(number.desc())
            .limit(NEWEST)
            .subquery("newest")
        )
        index = behind_the_index()
        words = sa.literal(" ").concat(index.c.c0).concat(" ").concat(index.c.c1).concat(" ")
        # Whatever was asked of the index, what it gives is read within the scope.
        held = (
            sa.select(MESSAGES.c.id, words.label("words"), sa.func.length(words).label("length"))
            .select_from(
                _InThisOrder(
                    _InThisOrder(newest, MESSAGES, MESSAGES.c.id == newest.c.id), index, MESSAGES.c.id == index.c.id
                )
            )
            .where(self._scoped.in_scope(scope, GUILD_UNINDEXED))
            .cte("held")
            .prefix_with("MATERIALIZED")
        )
        # BM25 with each word counted once and lengths in characters.
        holds = [sa.cast(sa.func.instr(held.c.words, f" {term} ") > 0, sa.Float) * w for term, w in rarity.items()]
        usual = sa.select(sa.func.avg(held.c.length)).scalar_subquery()
        score = sum(holds, sa.literal(0.0)) / (1 + K1 * (1 - B) + K1 * B * held.c.length / usual)
        matches = sa.select(sa.func.count()).select_from(held).scalar_subquery()
        query = sa.select(held.c.id, held.c.words, matches).order_by(score.desc(), held.c.id.desc()).limit(limit)
        rows = self._scoped.rows(db.execute(at_once(query)))
        return {int(row[0]): str(row[1]) for row in rows}, not rows or int(rows[0][2]) < NEWEST

    def _by_index(
        self,
        db: sa.Connection,
        joined: sa.FromClause,
        relevance: sa.ColumnElement[float],
        conditions: Sequence[sa.ColumnElement[bool]],
        scope: Scope,
        filters: Filters,
        limit: int,
    ) -> list[tuple[int, float]]:
        query = (
            sa.select(MESSAGES.c.id, relevance.label("relevance"))
            .select_from(joined)
            .where(*conditions, self._scoped.in_scope(scope), *self._scoped.filtered(filters))
        )
        query = query.order_by(sa.desc("relevance"), MESSAGES.c.id.desc()).limit(limit)
        rows = self._scoped.rows(db.execute(at_once(query)))
        return [(int(row[0]), float(row[1])) for row in rows]

    def scores_of_all(self, terms: Sequence[str], scope: Scope) -> dict[int, float]:
        """Return the BM25 of every message of a scope that holds a term, however many; SQLite only, to compare with."""
        with self._database.reading() as db:
            total = self._counts.total(db)
            rarity = {term: idf(n, total) for term, n in self._counts.of(db, terms).items() if n}
            index = behind_the_index()
            words = index.c.c0.concat(" ").concat(index.c.c1)
            joined = _InThisOrder(_keywords_join(), index, index.c.id == MESSAGES.c.id)
            query = sa.select(MESSAGES.c.id, words).select_from(joined)
            bodies = db.execute(query.where(_matching(any_of(rarity)), self._scoped.in_scope(scope, GUILD_UNINDEXED)))
            return dict(ranked([(row[0], row[1]) for row in bodies], rarity, total))

    def write(self, db: sa.Connection, rows: Sequence[Keywords]) -> None:
        """Index messages; the caller deleted what stood there before."""
        if rows:
            statement = "INSERT INTO keywords(rowid, body, author, place) VALUES (:id, :body, :author, :place)"
            parameters = [
                {"id": row.message_id, "body": row.body, "author": row.author, "place": place(row.channel_id)}
                for row in rows
            ]
            db.execute(sa.text(statement), parameters)

    def delete(self, db: sa.Connection, message_ids: Collection[int]) -> None:
        """Take messages out of the keyword index."""
        if not message_ids:
            return
        index = behind_the_index()
        words = sa.select(index.c.c0.concat(" ").concat(index.c.c1)).where(
            index.c.id.in_(self._database.ids(message_ids))
        )
        gone = {word for text in db.scalars(words).fetchall() for word in text.split()}
        db.execute(sa.text("DELETE FROM keywords WHERE rowid = :id"), [{"id": i} for i in message_ids])
        forget_in_directory(db, gone)


class _InThisOrder(sa.sql.expression.Join):
    """A join whose order SQLite keeps: from the messages' side it would ask the full-text index anew for each one."""

    inherit_cache = True


@compiles(_InThisOrder, "sqlite")
def _cross_join(join: _InThisOrder, compiler: SQLCompiler, **options: Any) -> str:
    written: str = compiler.visit_join(join, **options)  # type: ignore[no-untyped-call]
    return written.replace(" CROSS JOIN ", " JOIN ").replace(" JOIN ", " CROSS JOIN ")


def _matching(match: str) -> sa.ColumnElement[bool]:
    asked: sa.ColumnElement[bool] = sa.literal_column("keywords", sa.Text).op("MATCH")(match)
    return asked


def _keywords() -> sa.TableClause:
    return sa.table("keywords", sa.column("rowid", sa.BigInteger))


def _keywords_join() -> sa.FromClause:
    keywords = _keywords()
    return _InThisOrder(keywords, MESSAGES, MESSAGES.c.id == keywords.c.rowid)
