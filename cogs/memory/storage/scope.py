"""What every search needs: the scope of its reader as a condition, filters, and statements that are built once."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from cogs.memory.records import Filters, Scope
from cogs.memory.storage.connection import MESSAGES, Database, to_ms
from cogs.memory.storage.tables import MessageLabel, table_of

MESSAGE_LABELS = table_of(MessageLabel)
Build = Callable[[sa.ColumnElement[bool]], sa.Select[Any]]
"""The condition on messages → a statement about them."""
GUILD_UNINDEXED: sa.ColumnElement[int] = sa.literal_column("+messages.guild_id", sa.BigInteger)
"""The column with a sign that keeps SQLite from its index, where ids or channels lead to the rows much faster."""


class ScopedReader:
    """Keeps every search within its reader's channels; the stores that search share one.

    What a question asks several times is built once for each number of servers in a scope: SQLAlchemy takes longer to
    put such a statement together than SQLite takes to answer it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements: dict[tuple[str, int], sa.Select[Any]] = {}

    def prepared(self, build: Build, scope: Scope) -> sa.Select[Any]:
        """Return the statement of ``build`` over the messages ``:ids`` of a scope; see :meth:`values`."""
        guilds = sum(map(bool, scope.channels.values()))
        known = self._statements.get((build.__name__, guilds))
        if known is None:
            parts = [
                sa.and_(
                    GUILD_UNINDEXED.op("=")(sa.bindparam(f"guild_{n}")),
                    MESSAGES.c.channel_id.in_(self._each(f"channels_{n}")),
                )
                for n in range(guilds)
            ]
            condition = sa.and_(MESSAGES.c.id.in_(self._each("ids")), sa.or_(*parts) if parts else sa.false())
            known = self._statements[build.__name__, guilds] = build(condition)
        return known

    def read(self, build: Build, message_ids: Collection[int], scope: Scope) -> Sequence[Sequence[Any]]:
        """Return the rows of ``build`` over messages of a scope."""
        with self._database.reading() as db:
            return self.rows(db.execute(self.prepared(build, scope), self.values(message_ids, scope)))

    def rows(self, result: sa.CursorResult[Any]) -> Sequence[Sequence[Any]]:
        """Return the rows of a statement that went through :func:`at_once` where this is SQLite."""
        if not self._database.sqlite:
            return result.fetchall()
        rows: list[list[Any]] = json.loads(result.scalar_one())
        return rows

    def values(self, message_ids: Collection[int], scope: Scope) -> dict[str, Any]:
        """Return the parameters of a prepared statement."""
        values: dict[str, Any] = {"ids": self._packed(message_ids)}
        used = [(guild_id, ids) for guild_id, ids in scope.channels.items() if ids]
        for n, (guild_id, channel_ids) in enumerate(used):
            values |= {f"guild_{n}": guild_id, f"channels_{n}": self._packed(sorted(channel_ids))}
        return values

    def _each(self, name: str) -> sa.Select[tuple[int]]:
        """Return a subquery over the ids in a parameter."""
        if self._database.sqlite:
            each = sa.func.json_each(sa.bindparam(name, type_=sa.Text)).table_valued("value")
            return sa.select(each.c.value)
        return sa.select(sa.func.unnest(sa.bindparam(name, type_=ARRAY(sa.BigInteger))))

    def _packed(self, ids: Collection[int]) -> str | list[int]:
        return json.dumps(list(ids)) if self._database.sqlite else list(ids)

    def in_scope(self, scope: Scope, guild: sa.ColumnElement[int] = MESSAGES.c.guild_id) -> sa.ColumnElement[bool]:
        """Return the condition that a message lies in a scope: its channel and its server, both."""
        parts = [
            sa.and_(guild.op("=")(guild_id), MESSAGES.c.channel_id.in_(self._database.ids(sorted(channel_ids))))
            for guild_id, channel_ids in scope.channels.items()
            if channel_ids
        ]
        return sa.or_(*parts) if parts else sa.false()

    def filtered(self, filters: Filters) -> list[sa.ColumnElement[bool]]:
        """Return the conditions that filters put on messages."""
        conditions: list[sa.ColumnElement[bool]] = []
        if filters.author_ids is not None:
            conditions.append(MESSAGES.c.author_id.in_(self._database.ids(filters.author_ids)))
        if filters.after is not None:
            conditions.append(MESSAGES.c.created_ms >= to_ms(filters.after))
        if filters.before is not None:
            conditions.append(MESSAGES.c.created_ms < to_ms(filters.before))
        if filters.has is not None:
            conditions.append(_having(filters.has))
        if filters.mentions is not None:
            marks = [f"<@{mark}{user}>" for user in sorted(filters.mentions) for mark in ("", "!")]
            conditions.append(sa.or_(*(MESSAGES.c.content.contains(mark, autoescape=True) for mark in marks)))
        if filters.host is not None:
            ends = [f"://{filters.host.lower()}", f".{filters.host.lower()}/", f"://www.{filters.host.lower()}"]
            words = sa.func.lower(MESSAGES.c.content + " " + MESSAGES.c.embed_text)
            conditions.append(MESSAGES.c.has_link.is_(True))
            conditions.append(sa.or_(*(words.contains(end, autoescape=True) for end in ends)))
        if filters.file_type is not None:
            conditions.append(_files().contains(f'.{filters.file_type.lower()}"', autoescape=True))
        if filters.author_kind is not None:
            conditions.append(MESSAGES.c.author_is_bot.is_(filters.author_kind == "bot"))
        if filters.label is not None:
            conditions.append(
                sa.exists(
                    sa.select(MESSAGE_LABELS.c.message_id).where(
                        MESSAGE_LABELS.c.message_id == MESSAGES.c.id, MESSAGE_LABELS.c.name == filters.label
                    )
                )
            )
        return conditions


def _having(what: str) -> sa.ColumnElement[bool]:
    """Return the condition that a message has a thing; what it shows beside its words says so in fixed words.

    See :func:`cogs.memory.text.shown.shown_text`.
    """
    lines = sa.literal("\n") + MESSAGES.c.embed_text
    return {
        "link": MESSAGES.c.has_link.is_(True),
        "image": MESSAGES.c.has_image.is_(True),
        "file": MESSAGES.c.has_file.is_(True),
        "embed": MESSAGES.c.embed_text != "",
        "video": _files().contains('"content_type": "video/', autoescape=True),
        "sound": _files().contains('"content_type": "audio/', autoescape=True),
        "voice": lines.contains("\n(voice message", autoescape=True),
        "sticker": lines.contains("\n(sticker: ", autoescape=True),
        "poll": sa.or_(lines.contains("\nPoll: ", autoescape=True), lines.contains("\nPoll closed: ", autoescape=True)),
    }[what]


def _files() -> sa.ColumnElement[str]:
    """Return the attachments of a message as the JSON text that they are stored as, in lower case."""
    return sa.func.lower(sa.cast(MESSAGES.c.attachments, sa.Text))


def at_once(query: sa.Select[Any]) -> sa.Select[Any]:
    """Return the rows of a query as one row of JSON.

    For each row that SQLite steps to, its driver lets go of the interpreter and waits to get it back, up to five
    milliseconds for each of a thousand rows while the event loop is busy.
    """
    found = query.subquery("found")
    return sa.select(sa.func.json_group_array(sa.func.json_array(*found.c, type_=sa.Text), type_=sa.Text))


def behind_the_index() -> sa.TableClause:
    """Return the table behind SQLite's full-text index: it answers by rowid in half of the index's own time."""
    columns = (sa.column("c0", sa.Text), sa.column("c1", sa.Text))  # body and author
    return sa.table("keywords_content", sa.column("id", sa.BigInteger), *columns)
