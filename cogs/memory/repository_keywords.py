"""The keyword index: what it holds, and the messages of a scope that hold the words of a question."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from cogs.memory.keywords import affordable, ranked
from cogs.memory.records import Filters, Scope
from cogs.memory.repository_base import MESSAGES
from cogs.memory.repository_scope import GUILD_UNINDEXED, ScopedRows, at_once, behind_the_index

MATCHES_AT_MOST = 5_000
"""Matches that a keyword search ranks: SQLite takes about 3 µs for each, in whatever scope they lie."""
SMALL_SCOPE = 4_000
"""A scope of so many messages is read itself where the whole database holds more matches than that."""
AUTHOR_WEIGHT = 1.0
"""Weight of the author's name beside the body in BM25."""


class KeywordRows(ScopedRows):
    """The part of the repository that keeps the keyword index and searches it."""

    def keyword_candidates(
        self, terms: Sequence[str], scope: Scope, filters: Filters, limit: int
    ) -> list[tuple[int, float]]:
        """Return ``(message id, relevance)`` of messages that hold any of ``terms``, best first.

        Relevance is BM25 on SQLite (positive, greater is better) and ``ts_rank_cd`` on PostgreSQL. On SQLite words that
        very many messages hold are looked for in small scopes only: elsewhere the rarer ones decide, and of a single
        frequent word the newest messages.
        """
        if not terms or not scope.channel_ids:
            return []
        with self.reading() as db:
            if not self.sqlite:
                quoted = " | ".join("'" + term.replace("'", "''") + "'" for term in terms)
                question = sa.func.to_tsquery(sa.literal_column("'simple'::regconfig"), quoted)
                condition = sa.literal_column("keywords.body").op("@@")(question)
                relevance = sa.func.ts_rank_cd(sa.literal_column("keywords.body"), question)
                return self._by_index(db, _keywords_join(), relevance, [condition], scope, filters, limit)
            documents = self._documents_with(db, terms)
            if sum(documents.values()) > MATCHES_AT_MOST:
                size = self._size_up_to(db, scope, SMALL_SCOPE + 1)
                if size <= SMALL_SCOPE:
                    return ranked(self._bodies_with(db, terms, scope, filters), terms, size, limit)
                terms = affordable(documents, MATCHES_AT_MOST)
            match = _any_of(terms)
            if frequent := [term for term in documents if term not in terms]:
                # They choose nothing, but what holds them too comes first.
                match = f"({match}) OR (({match}) AND ({_any_of(frequent)}))"
            bm25: sa.ColumnElement[float] = sa.literal_column(f"-bm25(keywords, 1.0, {AUTHOR_WEIGHT})", sa.Float)
            asked: sa.ColumnElement[bool] = sa.literal_column("keywords", sa.Text).op("MATCH")(match)
            # The scope comes before the bound: what others wrote elsewhere must not push anything out.
            newest = sum(documents[term] for term in terms) > MATCHES_AT_MOST
            return self._by_index(db, _keywords_join(), bm25, [asked], scope, filters, limit, newest=newest)

    def _by_index(
        self,
        db: sa.Connection,
        joined: sa.FromClause,
        relevance: sa.ColumnElement[float],
        conditions: Sequence[sa.ColumnElement[bool]],
        scope: Scope,
        filters: Filters,
        limit: int,
        *,
        newest: bool = False,
    ) -> list[tuple[int, float]]:
        query = (
            sa.select(MESSAGES.c.id, relevance.label("relevance"))
            .select_from(joined)
            .where(*conditions, self.in_scope(scope), *self.filtered(filters))
        )
        if newest:
            some = query.order_by(sa.literal_column("keywords.rowid").desc()).limit(MATCHES_AT_MOST).subquery("newest")
            query = sa.select(some.c.id, some.c.relevance)
            query = query.order_by(some.c.relevance.desc(), some.c.id.desc()).limit(limit)
        else:
            query = query.order_by(sa.desc("relevance"), MESSAGES.c.id.desc()).limit(limit)
        rows = self.rows(db.execute(at_once(query) if self.sqlite else query))
        return [(int(row[0]), float(row[1])) for row in rows]

    def _documents_with(self, db: sa.Connection, terms: Sequence[str]) -> dict[str, int]:
        """Return in how many messages of the whole database each term stands; SQLite only."""
        query = sa.text("SELECT term, doc FROM temp.keyword_terms WHERE term IN (SELECT value FROM json_each(:terms))")
        found = dict.fromkeys(terms, 0)
        found.update((row[0], row[1]) for row in db.execute(query, {"terms": json.dumps(list(terms))}).fetchall())
        return found

    def _size_up_to(self, db: sa.Connection, scope: Scope, most: int) -> int:
        """Return how many messages a scope holds, counting no further than ``most``."""
        # The channels alone: an index holds them, and a channel lies in one server.
        channels = MESSAGES.c.channel_id.in_(self.ids(scope.channel_ids))
        some = sa.select(sa.literal(1)).select_from(MESSAGES).where(channels).limit(most).subquery()
        return int(db.scalar(sa.select(sa.func.count()).select_from(some)) or 0)

    def _bodies_with(
        self, db: sa.Connection, terms: Sequence[str], scope: Scope, filters: Filters
    ) -> list[tuple[int, str]]:
        """Return ``(id, terms)`` of the messages of a scope that seem to hold one of these terms; SQLite only."""
        index = behind_the_index()
        words = sa.literal(" ").concat(index.c.c0).concat(" ").concat(index.c.c1).concat(" ")
        query = (
            sa.select(MESSAGES.c.id, words.label("words"))
            .select_from(MESSAGES.join(index, MESSAGES.c.id == index.c.id))
            .where(
                self.in_scope(scope, GUILD_UNINDEXED),
                *self.filtered(filters),
                sa.or_(*(sa.func.instr(words, f" {term} ") > 0 for term in terms)),
            )
        )
        return [(int(row[0]), str(row[1])) for row in self.rows(db.execute(at_once(query)))]

    def write_keywords(self, db: sa.Connection, rows: Sequence[tuple[int, str, str]]) -> None:
        """Index ``(message id, body, author)``; the caller deleted what stood there before."""
        if not rows:
            return
        if self.sqlite:
            statement = "INSERT INTO keywords(rowid, body, author) VALUES (:id, :body, :author)"
            parameters = [{"id": i, "body": body, "author": author} for i, body, author in rows]
        else:
            statement = "INSERT INTO keywords(rowid, body) VALUES (:id, to_tsvector('simple', :body))"
            parameters = [{"id": i, "body": f"{body} {author}"} for i, body, author in rows]
        db.execute(sa.text(statement), parameters)

    def delete_keywords(self, db: sa.Connection, message_ids: Collection[int]) -> None:
        """Take messages out of the keyword index."""
        if message_ids:
            db.execute(sa.text("DELETE FROM keywords WHERE rowid = :id"), [{"id": i} for i in message_ids])


class _InThisOrder(sa.sql.expression.Join):
    """A join whose order SQLite keeps: from the messages' side it would ask the full-text index anew for each one."""

    inherit_cache = True


@compiles(_InThisOrder, "sqlite")
def _cross_join(join: _InThisOrder, compiler: SQLCompiler, **options: Any) -> str:
    written: str = compiler.visit_join(join, **options)  # type: ignore[no-untyped-call]
    return written.replace(" JOIN ", " CROSS JOIN ", 1)


def _any_of(terms: Sequence[str]) -> str:
    """Return SQLite's full-text question for any of these terms."""
    return " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)


def _keywords_join() -> sa.FromClause:
    keywords = sa.table("keywords", sa.column("rowid", sa.BigInteger))
    return _InThisOrder(keywords, MESSAGES, MESSAGES.c.id == keywords.c.rowid)
