"""The keyword index on PostgreSQL: BM25 by the same plan as SQLite's, over terms that each stand below their server.

A term is the lexeme ``<server in hex>:<term>``, so that a search reads what one server's messages hold and nothing
else; a channel is a lexeme as well. The texts of the terms lie beside them for the ranking: the index knows which
messages hold a word, and not how often or among how many.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from cogs.memory.records import Filters, Scope
from cogs.memory.storage.bm25 import K1, B, idf, place, ranked
from cogs.memory.storage.connection import MESSAGES, Database
from cogs.memory.storage.keyword_counts import TermCounts
from cogs.memory.storage.keyword_plan import NEWEST, plan
from cogs.memory.storage.keywords import Keywords
from cogs.memory.storage.scope import ScopedReader

LONGEST: Final = 200
"""Characters of a term that the index tells apart; PostgreSQL takes 2,046 bytes."""
LEXEME_BYTES: Final = 900_000
"""What the terms of one message may take together; PostgreSQL takes a megabyte."""
PLACES_AT_MOST: Final = 64
"""Channels that are asked for in the index itself; of more, each match's channel is looked up."""

KEYWORDS = sa.table(
    "keywords",
    sa.column("rowid", sa.BigInteger),
    sa.column("words", sa.Text),
    sa.column("author", sa.Text),
    sa.column("terms", TSVECTOR),
)
_INSERT = sa.text(
    "INSERT INTO keywords(rowid, words, author, terms) "
    "SELECT r.id, r.words, r.author, array_to_tsvector(string_to_array(r.lexemes, ' ')) "
    "FROM unnest(CAST(:ids AS BIGINT[]), CAST(:words AS TEXT[]), CAST(:authors AS TEXT[]), CAST(:lexemes AS TEXT[])) "
    "AS r(id, words, author, lexemes) ON CONFLICT (rowid) DO NOTHING"
)
_COUNT = sa.text(
    "SELECT asked.t, (SELECT count(*) FROM keywords WHERE keywords.terms @@ CAST(asked.t AS TSQUERY)) "
    "FROM unnest(CAST(:terms AS TEXT[])) AS asked(t)"
)


def lexeme(guild_id: int, term: str) -> str:
    """Return the form in which the index holds a term of a server's messages."""
    return f"{guild_id:x}:{term[:LONGEST]}"


def insert_keywords(db: sa.Connection, rows: Sequence[Keywords]) -> None:
    """Index messages in one statement, in the order of their ids."""
    ordered = sorted(rows, key=lambda row: row.message_id)
    values = {
        "ids": [row.message_id for row in ordered],
        "words": [row.body for row in ordered],
        "authors": [row.author for row in ordered],
        "lexemes": [" ".join(_lexemes(row)) for row in ordered],
    }
    db.execute(_INSERT, values)


def _lexemes(row: Keywords) -> list[str]:
    found, taken = [place(row.channel_id)], 0
    for term in dict.fromkeys(f"{row.author} {row.body}".split()):
        each = lexeme(row.guild_id, term)
        taken += len(each.encode()) + 8
        if taken > LEXEME_BYTES:
            break
        found.append(each)
    return found


class PostgresqlKeywords:
    """See :class:`~cogs.memory.storage.keywords.KeywordStore`."""

    def __init__(self, database: Database, scoped: ScopedReader) -> None:
        self._database = database
        self._scoped = scoped
        self._counts = TermCounts(_counted)
        self._sizes = TermCounts(_sized)

    def candidates(self, terms: Sequence[str], scope: Scope, filters: Filters, limit: int) -> list[tuple[int, float]]:
        """Return ``(message id, BM25)`` of messages that hold any of ``terms``, best first."""
        found: list[tuple[int, float]] = []
        with self._database.reading() as db:
            for guild_id, channel_ids in scope.channels.items():
                if terms and channel_ids:
                    found += self._of_guild(db, guild_id, sorted(channel_ids), terms, filters, limit)
        return sorted(found, key=lambda pair: (-pair[1], -pair[0]))[:limit]

    def _of_guild(
        self,
        db: sa.Connection,
        guild_id: int,
        channel_ids: Sequence[int],
        terms: Sequence[str],
        filters: Filters,
        limit: int,
    ) -> list[tuple[int, float]]:
        asked = {_quoted(lexeme(guild_id, term)): term for term in terms}
        counted = self._counts.of(db, list(asked))
        documents = {quoted: counted[quoted] for quoted in asked if counted[quoted]}
        if not documents:
            return []
        sizes = self._sizes.of(db, [f"g{guild_id}", *(f"c{channel}" for channel in channel_ids)])
        total = sizes.pop(f"g{guild_id}")
        rarity = {quoted: idf(n, total) for quoted, n in documents.items()}
        weights = {asked[quoted]: weight for quoted, weight in rarity.items()}
        within = [_quoted(place(c)) for c in channel_ids] if len(channel_ids) <= PLACES_AT_MOST else []
        here = Scope({guild_id: frozenset(channel_ids)})
        found: dict[int, str] = {}
        for question, stricter in plan(documents, total, sum(sizes.values()), 2 * limit, AsTsquery()).questions():
            if len(found) < limit:
                best, all_seen = self._best_of(db, question, within, weights, here, filters, limit)
                found |= best
                if not all_seen and stricter is not None:
                    found |= self._best_of(db, stricter, within, weights, here, filters, limit)[0]
        return ranked(list(found.items()), weights, limit)

    def _best_of(
        self,
        db: sa.Connection,
        match: str,
        within: Sequence[str],
        weights: Mapping[str, float],
        scope: Scope,
        filters: Filters,
        limit: int,
    ) -> tuple[dict[int, str], bool]:
        """Return the terms of those among the newest matches of a scope that hold most of the words, by id.

        The second value says whether these were all matches.
        """
        question = f"({' | '.join(within)}) & ({match})" if within else match
        words = sa.literal(" ").concat(KEYWORDS.c.words).concat(" ").concat(KEYWORDS.c.author).concat(" ")
        held = (
            sa.select(MESSAGES.c.id, words.label("words"), sa.func.length(words).label("length"))
            .select_from(sa.join(KEYWORDS, MESSAGES, MESSAGES.c.id == KEYWORDS.c.rowid))
            .where(
                KEYWORDS.c.terms.op("@@")(sa.cast(question, TSQUERY)),
                self._scoped.in_scope(scope),
                *self._scoped.filtered(filters),
            )
            .order_by(KEYWORDS.c.rowid.desc())
            .limit(NEWEST)
            .cte("held")
            .prefix_with("MATERIALIZED")
        )
        # BM25 with each word counted once and lengths in characters.
        holds = [
            sa.case((sa.func.strpos(held.c.words, f" {term} ") > 0, weight), else_=0.0)
            for term, weight in weights.items()
        ]
        usual = sa.select(sa.func.avg(held.c.length)).scalar_subquery()
        score = sum(holds, sa.literal(0.0)) / (1 + K1 * (1 - B) + K1 * B * held.c.length / usual)
        matches = sa.select(sa.func.count()).select_from(held).scalar_subquery()
        query = sa.select(held.c.id, held.c.words, matches).order_by(score.desc(), held.c.id.desc()).limit(limit)
        rows = db.execute(query).fetchall()
        return {int(row[0]): str(row[1]) for row in rows}, not rows or int(rows[0][2]) < NEWEST

    def write(self, db: sa.Connection, rows: Sequence[Keywords]) -> None:
        """Index messages; the caller deleted what stood there before."""
        if rows:
            insert_keywords(db, rows)

    def delete(self, db: sa.Connection, message_ids: Collection[int]) -> None:
        """Take messages out of the keyword index."""
        if message_ids:
            db.execute(sa.delete(KEYWORDS).where(KEYWORDS.c.rowid.in_(self._database.ids(sorted(message_ids)))))


class AsTsquery:
    """How a plan is written for PostgreSQL; its terms are quoted lexemes."""

    def any_of(self, terms: Collection[str]) -> str:
        """Return the question for any of these terms."""
        return " | ".join(terms)

    def both(self, first: str, second: str) -> str:
        """Return the question for both."""
        return f"({first} & ({second}))"

    def either(self, first: str, second: str) -> str:
        """Return the question for either."""
        return f"{first} | ({second})"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _counted(db: sa.Connection, terms: Sequence[str]) -> dict[str, int]:
    """Return in how many messages each quoted lexeme stands."""
    return {row[0]: int(row[1]) for row in db.execute(_COUNT, {"terms": list(terms)})}


def _sized(db: sa.Connection, names: Sequence[str]) -> dict[str, int]:
    """Return how many messages ``g<server>`` and ``c<channel>`` hold."""
    ids: dict[str, list[int]] = {"g": [], "c": []}
    for name in names:
        ids[name[0]].append(int(name[1:]))
    found: dict[str, int] = {}
    for kind, column in (("g", MESSAGES.c.guild_id), ("c", MESSAGES.c.channel_id)):
        if ids[kind]:
            grouped = sa.select(column, sa.func.count()).where(column.in_(ids[kind])).group_by(column)
            rows: Sequence[Any] = db.execute(grouped).fetchall()
            found |= {f"{kind}{row[0]}": int(row[1]) for row in rows}
    return found
