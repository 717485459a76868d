"""Reading for search: keyword candidates, filters, rows by id. Every query carries the scope of its reader."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from cogs.memory.models import MessageLabel, table_of
from cogs.memory.records import Filters, Scope, StoredMessage
from cogs.memory.repository_base import CHANNELS, MESSAGES, RepositoryBase, stored_message, to_ms
from cogs.memory.repository_labels import JUDGED

MESSAGE_LABELS = table_of(MessageLabel)
AUTHOR_WEIGHT = 1.0
"""Weight of the author's name beside the body in BM25."""


class SearchRows(RepositoryBase):
    """The part of the repository that searches."""

    def in_scope(self, scope: Scope) -> sa.ColumnElement[bool]:
        """Return the condition that a message lies in a scope: its channel and its server, both."""
        parts = [
            sa.and_(MESSAGES.c.guild_id == guild_id, MESSAGES.c.channel_id.in_(self.ids(sorted(channel_ids))))
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

        Relevance is BM25 on SQLite (positive, greater is better) and ``ts_rank_cd`` on PostgreSQL.
        """
        if not terms or not scope.channel_ids:
            return []
        if self.sqlite:
            match = " OR ".join('"' + term.replace('"', '""') + '"' for term in terms)
            relevance: sa.ColumnElement[float] = sa.literal_column(f"-bm25(keywords, 1.0, {AUTHOR_WEIGHT})", sa.Float)
            condition: sa.ColumnElement[bool] | sa.TextClause = sa.text("keywords MATCH :match").bindparams(match=match)
        else:
            quoted = " | ".join("'" + term.replace("'", "''") + "'" for term in terms)
            question = sa.func.to_tsquery(sa.literal_column("'simple'::regconfig"), quoted)
            relevance = sa.func.ts_rank_cd(sa.literal_column("keywords.body"), question)
            condition = sa.literal_column("keywords.body").op("@@")(question)
        query = (
            sa.select(MESSAGES.c.id, relevance.label("relevance"))
            .select_from(_keywords_join())
            .where(condition, self.in_scope(scope), *self._filtered(filters))
            .order_by(sa.desc("relevance"), MESSAGES.c.id.desc())
            .limit(limit)
        )
        with self.reading() as db:
            return [(int(row[0]), float(row[1])) for row in db.execute(query)]

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
        query = (
            sa.select(MESSAGES, CHANNELS.c.name.label("channel_name"))
            .join(CHANNELS, CHANNELS.c.id == MESSAGES.c.channel_id, isouter=True)
            .where(MESSAGES.c.id.in_(self.ids(message_ids)), self.in_scope(scope))
        )
        labels: dict[int, list[str]] = {}
        with self.reading() as db:
            rows = list(db.execute(query).mappings())
            for row in db.execute(
                sa.select(MESSAGE_LABELS.c.message_id, MESSAGE_LABELS.c.name).where(
                    MESSAGE_LABELS.c.message_id.in_(self.ids([r["id"] for r in rows])),
                    MESSAGE_LABELS.c.name != JUDGED,
                )
            ):
                labels.setdefault(row.message_id, []).append(row.name)
        return {
            row["id"]: stored_message(row, row["channel_name"] or "", sorted(labels.get(row["id"], ()))) for row in rows
        }

    def beside(self, message_ids: Collection[int], scope: Scope) -> dict[int, tuple[int | None, int | None]]:
        """Map messages of the scope to the ids right before and after each in its channel."""
        if not message_ids:
            return {}
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
        query = sa.select(MESSAGES.c.id, before.scalar_subquery(), after.scalar_subquery()).where(
            MESSAGES.c.id.in_(self.ids(message_ids)), self.in_scope(scope)
        )
        with self.reading() as db:
            return {row[0]: (row[1], row[2]) for row in db.execute(query)}

    def passages(self, message_ids: Collection[int], scope: Scope) -> dict[int, tuple[str, str, list[str]]]:
        """Map messages of the scope to ``(author, content, terms)``; the terms as the keyword index holds them."""
        if not message_ids:
            return {}
        body: sa.ColumnElement[str] = sa.literal_column("keywords.body")
        query = (
            sa.select(
                MESSAGES.c.id,
                MESSAGES.c.author_name,
                MESSAGES.c.content,
                body if self.sqlite else sa.func.tsvector_to_array(body),
            )
            .select_from(_keywords_join(outer=True))
            .where(MESSAGES.c.id.in_(self.ids(message_ids)), self.in_scope(scope))
        )
        with self.reading() as db:
            return {
                row[0]: (row[1], row[2], row[3].split() if isinstance(row[3], str) else list(row[3] or ()))
                for row in db.execute(query)
            }

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


class _KeywordsFirst(sa.sql.expression.Join):
    """A join whose order SQLite keeps: from the messages' side it would ask the full-text index anew for each one."""

    inherit_cache = True


@compiles(_KeywordsFirst, "sqlite")
def _cross_join(join: _KeywordsFirst, compiler: SQLCompiler, **options: Any) -> str:
    written: str = compiler.visit_join(join, **options)  # type: ignore[no-untyped-call]
    return written.replace(" JOIN ", " CROSS JOIN ", 1)


def _keywords_join(*, outer: bool = False) -> sa.FromClause:
    keywords = sa.table("keywords", sa.column("rowid", sa.BigInteger))
    on = MESSAGES.c.id == keywords.c.rowid
    return MESSAGES.join(keywords, on, isouter=True) if outer else _KeywordsFirst(keywords, MESSAGES, on)
