"""Reading for search: keyword candidates, filters, rows by id. Every query carries the scope of its reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from cogs.memory.keywords import affordable, ranked
from cogs.memory.models import MessageLabel, table_of
from cogs.memory.records import Filters, Scope, StoredMessage
from cogs.memory.repository_base import CHANNELS, MESSAGES, RepositoryBase, stored_message, to_ms
from cogs.memory.repository_labels import JUDGED

MESSAGE_LABELS = table_of(MessageLabel)
Build = Callable[[sa.ColumnElement[bool]], sa.Select[Any]]
"""The condition on messages → a statement about them."""
_GUILD_UNINDEXED: sa.ColumnElement[int] = sa.literal_column("+messages.guild_id", sa.BigInteger)
"""The column with a sign that keeps SQLite from its index, where ids or channels lead to the rows much faster."""
MATCHES_AT_MOST = 5_000
"""Matches that a keyword search ranks: SQLite takes about 3 µs for each, in whatever scope they lie."""
SMALL_SCOPE = 4_000
"""A scope of so many messages is read itself where the whole database holds more matches than that."""
AUTHOR_WEIGHT = 1.0
"""Weight of the author's name beside the body in BM25."""


class SearchRows(RepositoryBase):
    """The part of the repository that searches.

    What a question asks several times is built once for each number of servers in a scope: SQLAlchemy takes longer to
    put such a statement together than SQLite takes to answer it.
    """

    def _prepared(self, build: Build, scope: Scope) -> sa.Select[Any]:
        """Return the statement of ``build`` over the messages ``:ids`` of a scope; see :meth:`_values`."""
        guilds = sum(map(bool, scope.channels.values()))
        known = self._statements.get((build.__name__, guilds))
        if known is None:
            parts = [
                sa.and_(
                    _GUILD_UNINDEXED.op("=")(sa.bindparam(f"guild_{n}")),
                    MESSAGES.c.channel_id.in_(self._each(f"channels_{n}")),
                )
                for n in range(guilds)
            ]
            condition = sa.and_(MESSAGES.c.id.in_(self._each("ids")), sa.or_(*parts) if parts else sa.false())
            known = self._statements[build.__name__, guilds] = build(condition)
        return known

    def _read(self, build: Build, message_ids: Collection[int], scope: Scope) -> Sequence[Sequence[Any]]:
        """Return the rows of ``build`` over messages of a scope."""
        with self.reading() as db:
            return self._rows(db.execute(self._prepared(build, scope), self._values(message_ids, scope)))

    def _rows(self, result: sa.CursorResult[Any]) -> Sequence[Sequence[Any]]:
        """Return the rows of a statement that went through :func:`_at_once` where this is SQLite."""
        if not self.sqlite:
            return result.fetchall()
        rows: list[list[Any]] = json.loads(result.scalar_one())
        return rows

    def _values(self, message_ids: Collection[int], scope: Scope) -> dict[str, Any]:
        """Return the parameters of a prepared statement."""
        values: dict[str, Any] = {"ids": self._packed(message_ids)}
        used = [(guild_id, ids) for guild_id, ids in scope.channels.items() if ids]
        for n, (guild_id, channel_ids) in enumerate(used):
            values |= {f"guild_{n}": guild_id, f"channels_{n}": self._packed(sorted(channel_ids))}
        return values

    def _each(self, name: str) -> sa.Select[tuple[int]]:
        """Return a subquery over the ids in a parameter."""
        if self.sqlite:
            each = sa.func.json_each(sa.bindparam(name, type_=sa.Text)).table_valued("value")
            return sa.select(each.c.value)
        return sa.select(sa.func.unnest(sa.bindparam(name, type_=ARRAY(sa.BigInteger))))

    def _packed(self, ids: Collection[int]) -> str | list[int]:
        return json.dumps(list(ids)) if self.sqlite else list(ids)

    def in_scope(self, scope: Scope, guild: sa.ColumnElement[int] = MESSAGES.c.guild_id) -> sa.ColumnElement[bool]:
        """Return the condition that a message lies in a scope: its channel and its server, both."""
        parts = [
            sa.and_(guild.op("=")(guild_id), MESSAGES.c.channel_id.in_(self.ids(sorted(channel_ids))))
            for guild_id, channel_ids in scope.channels.items()
            if channel_ids
        ]
        return sa.or_(*parts) if parts else sa.false()

    def _filtered(self, filters: Filters) -> list[sa.ColumnElement[bool]]:
        conditions: list[sa.ColumnElement[bool]] = []
        if filters.author_ids is not None:
            conditions.append(MESSAGES.c.author_id.in_(self.ids(filters.author_ids)))
        if filters.after is not None:
            conditions.append(MESSAGES.c.created_ms >= to_ms(filters.after))
        if filters.before is not None:
            conditions.append(MESSAGES.c.created_ms < to_ms(filters.before))
        if filters.has is not None:
            conditions.append(
                {
                    "link": MESSAGES.c.has_link.is_(True),
                    "image": MESSAGES.c.has_image.is_(True),
                    "file": MESSAGES.c.has_file.is_(True),
                    "embed": MESSAGES.c.embed_text != "",
                }[filters.has]
            )
        if filters.label is not None:
            conditions.append(
                sa.exists(
                    sa.select(MESSAGE_LABELS.c.message_id).where(
                        MESSAGE_LABELS.c.message_id == MESSAGES.c.id, MESSAGE_LABELS.c.name == filters.label
                    )
                )
            )
        return conditions

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
            .where(*conditions, self.in_scope(scope), *self._filtered(filters))
        )
        if newest:
            some = query.order_by(sa.literal_column("keywords.rowid").desc()).limit(MATCHES_AT_MOST).subquery("newest")
            query = sa.select(some.c.id, some.c.relevance)
            query = query.order_by(some.c.relevance.desc(), some.c.id.desc()).limit(limit)
        else:
            query = query.order_by(sa.desc("relevance"), MESSAGES.c.id.desc()).limit(limit)
        rows = self._rows(db.execute(_at_once(query) if self.sqlite else query))
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
        index = _behind_the_index()
        words = sa.literal(" ").concat(index.c.c0).concat(" ").concat(index.c.c1).concat(" ")
        query = (
            sa.select(MESSAGES.c.id, words.label("words"))
            .select_from(MESSAGES.join(index, MESSAGES.c.id == index.c.id))
            .where(
                self.in_scope(scope, _GUILD_UNINDEXED),
                *self._filtered(filters),
                sa.or_(*(sa.func.instr(words, f" {term} ") > 0 for term in terms)),
            )
        )
        return [(int(row[0]), str(row[1])) for row in self._rows(db.execute(_at_once(query)))]

    def allowed_ids(self, scope: Scope, filters: Filters) -> npt.NDArray[np.int64] | None:
        """Return the ids that the filters leave within the scope, or None where nothing is filtered."""
        conditions = self._filtered(filters)
        if not conditions:
            return None
        with self.reading() as db:
            ids = db.scalars(sa.select(MESSAGES.c.id).where(self.in_scope(scope), *conditions))
            return np.fromiter(ids, dtype=np.int64)

    def messages(self, message_ids: Collection[int], scope: Scope) -> dict[int, StoredMessage]:
        """Return the messages among ``message_ids`` that exist and lie in the scope now."""
        if not message_ids:
            return {}
        labels: dict[int, list[str]] = {}
        with self.reading() as db:
            values = self._values(message_ids, scope)
            rows = db.execute(self._prepared(_whole_messages, scope), values).mappings().fetchall()
            for message_id, name in db.execute(self._prepared(_their_labels, scope), values).fetchall():
                labels.setdefault(message_id, []).append(name)
        return {
            row["id"]: stored_message(row, row["channel_name"] or "", sorted(labels.get(row["id"], ()))) for row in rows
        }

    def beside(self, message_ids: Collection[int], scope: Scope) -> dict[int, tuple[int | None, int | None]]:
        """Map messages of the scope to the ids right before and after each in its channel."""
        if not message_ids:
            return {}
        build = _neighbours_on_sqlite if self.sqlite else _neighbours
        return {row[0]: (row[1], row[2]) for row in self._read(build, message_ids, scope)}

    def passages(self, message_ids: Collection[int], scope: Scope) -> dict[int, tuple[str, str, str, int]]:
        """Map messages of the scope to ``(author, content, body, created_ms)``.

        ``body`` are the terms that the keyword index holds, with spaces between them.
        """
        if not message_ids:
            return {}
        build = _passages_on_sqlite if self.sqlite else _passages_on_postgresql
        rows = self._read(build, message_ids, scope)
        return {row[0]: (row[1], row[2], row[3] or "", row[4]) for row in rows}

    def channel_reach(self, channel_ids: Collection[int]) -> dict[int, tuple[int, int]]:
        """Map each channel that holds messages to their number and the time of the first, in milliseconds."""
        query = (
            sa.select(MESSAGES.c.channel_id, sa.func.count(), sa.func.min(MESSAGES.c.created_ms))
            .where(MESSAGES.c.channel_id.in_(self.ids(channel_ids)))
            .group_by(MESSAGES.c.channel_id)
        )
        with self.reading() as db:
            return {row[0]: (row[1], row[2]) for row in db.execute(query)}

    def authors(self, scope: Scope, prefix: str, limit: int) -> list[tuple[int, str]]:
        """Return ``(author id, latest name)`` of people who wrote in the scope and whose name holds ``prefix``."""
        query = (
            sa.select(MESSAGES.c.author_id, MESSAGES.c.author_name, sa.func.count(), sa.func.max(MESSAGES.c.id))
            .where(self.in_scope(scope))
            .group_by(MESSAGES.c.author_id, MESSAGES.c.author_name)
        )
        if prefix:
            query = query.where(sa.func.lower(MESSAGES.c.author_name).contains(prefix.lower(), autoescape=True))
        with self.reading() as db:
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
            .where(MESSAGES.c.channel_id.in_(self.ids(channel_ids)))
            .group_by(MESSAGES.c.channel_id, MESSAGES.c.author_name)
        )
        names: dict[int, dict[str, int]] = {}
        with self.reading() as db:
            for channel_id, name, count in db.execute(query):
                names.setdefault(channel_id, {})[name] = count
        return names

    def stored_versions(self, channel_id: int, first_id: int, last_id: int) -> dict[int, tuple[str, int | None]]:
        """Map the ids of a channel between two ids, both included, to ``(content, edited_ms)``."""
        query = sa.select(MESSAGES.c.id, MESSAGES.c.content, MESSAGES.c.edited_ms).where(
            MESSAGES.c.channel_id == channel_id, MESSAGES.c.id.between(first_id, last_id)
        )
        with self.reading() as db:
            return {row.id: (row.content, row.edited_ms) for row in db.execute(query)}

    # -- the keyword index ---------------------------------------------------------------------------------

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


def _whole_messages(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    channel = CHANNELS.c.name.label("channel_name")
    joined = MESSAGES.join(CHANNELS, CHANNELS.c.id == MESSAGES.c.channel_id, isouter=True)
    return sa.select(MESSAGES, channel).select_from(joined).where(condition)


def _their_labels(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    of = MESSAGE_LABELS.c.message_id == MESSAGES.c.id
    names = sa.select(MESSAGE_LABELS.c.message_id, MESSAGE_LABELS.c.name).select_from(MESSAGES.join(MESSAGE_LABELS, of))
    return names.where(condition, MESSAGE_LABELS.c.name != JUDGED)


def _at_once(query: sa.Select[Any]) -> sa.Select[Any]:
    """Return the rows of a query as one row of JSON.

    For each row that SQLite steps to, its driver lets go of the interpreter and waits to get it back, up to five
    milliseconds for each of a thousand rows while the event loop is busy.
    """
    found = query.subquery("found")
    return sa.select(sa.func.json_group_array(sa.func.json_array(*found.c, type_=sa.Text), type_=sa.Text))


def _neighbours_on_sqlite(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return _at_once(_neighbours(condition))


def _neighbours(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    other = MESSAGES.alias("other")
    here = other.c.channel_id == MESSAGES.c.channel_id
    ms, number = other.c.created_ms, other.c.id
    # The time comes first because the index holds it; messages of one millisecond follow each other by id.
    before = (
        sa.select(number)
        .where(here, ms <= MESSAGES.c.created_ms, sa.or_(ms < MESSAGES.c.created_ms, number < MESSAGES.c.id))
        .order_by(ms.desc(), number.desc())
        .limit(1)
    )
    after = (
        sa.select(number)
        .where(here, ms >= MESSAGES.c.created_ms, sa.or_(ms > MESSAGES.c.created_ms, number > MESSAGES.c.id))
        .order_by(ms, number)
        .limit(1)
    )
    return sa.select(
        MESSAGES.c.id, before.scalar_subquery().label("before"), after.scalar_subquery().label("after")
    ).where(condition)


def _passages(body: sa.ColumnElement[Any], index: sa.FromClause, on: sa.ColumnElement[bool]) -> sa.Select[Any]:
    columns = (MESSAGES.c.id, MESSAGES.c.author_name, MESSAGES.c.content, body, MESSAGES.c.created_ms)
    return sa.select(*columns).select_from(MESSAGES.join(index, on, isouter=True))


def _behind_the_index() -> sa.TableClause:
    """Return the table behind SQLite's full-text index: it answers by rowid in half of the index's own time."""
    columns = (sa.column("c0", sa.Text), sa.column("c1", sa.Text))  # body and author
    return sa.table("keywords_content", sa.column("id", sa.BigInteger), *columns)


def _passages_on_sqlite(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    index = _behind_the_index()
    return _at_once(_passages(index.c.c0, index, MESSAGES.c.id == index.c.id).where(condition))


def _passages_on_postgresql(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    index = sa.table("keywords", sa.column("rowid", sa.BigInteger), sa.column("body"))
    body = sa.func.array_to_string(sa.func.tsvector_to_array(index.c.body), " ")
    return _passages(body, index, MESSAGES.c.id == index.c.rowid).where(condition)
