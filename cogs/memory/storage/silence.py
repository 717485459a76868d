"""What others may not say of people who said stop: their ids, their names after an "@", quotations of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from cogs.memory.storage.connection import MESSAGES, Database
from cogs.memory.storage.keywords import KeywordStore, keywords_of
from cogs.memory.storage.people import EVERYWHERE, PeopleStore
from cogs.memory.storage.quotations import QuotationStore
from cogs.memory.storage.tables import PENDING, PreparedPassageRow, SilentName, table_of
from cogs.memory.text.mentions import ids_in, lines_of, names_in, without_ids, without_names

SILENT_NAMES = table_of(SilentName)
PASSAGES = table_of(PreparedPassageRow)


class SilenceStore:
    """Keeps the words of others free of people who said stop.

    Of a person it keeps the names under which they were known when they said stop, as keyed hashes, until they take it
    back (:meth:`lift`).
    """

    def __init__(
        self, database: Database, people: PeopleStore, keywords: KeywordStore, quotations: QuotationStore
    ) -> None:
        self._database = database
        self._people = people
        self._keywords = keywords
        self._quotations = quotations

    def note_names(self, db: sa.Connection, names: Iterable[tuple[int, int, str]]) -> None:
        """Note ``(user id, server id, name)`` of people who said stop."""
        rows = {
            (self._people.hasher.digest_name(name, place), self._people.hasher.digest(user, place))
            for user, guild, name in names
            for place in (guild, EVERYWHERE)
        }
        columns = ("name_digest", "person_digest")
        self._database.insert(db, SILENT_NAMES, [dict(zip(columns, row, strict=True)) for row in sorted(rows)])

    def names_of(self, user_id: int, guild_id: int | None) -> set[str]:
        """Return the names under which a person's messages are stored, here or everywhere."""
        names = sa.select(MESSAGES.c.author_name).where(MESSAGES.c.author_id == user_id).distinct()
        with self._database.reading() as db:
            return set(db.scalars(names if guild_id is None else names.where(MESSAGES.c.guild_id == guild_id)))

    def begin(self, user_id: int, guild_id: int | None) -> None:
        """Note the names under which a person's messages are stored, before these go."""
        place = EVERYWHERE if guild_id is None else guild_id
        digest, hasher = self._people.hasher.digest(user_id, place), self._people.hasher
        rows = [
            {"name_digest": hasher.digest_name(name, place), "person_digest": digest}
            for name in self.names_of(user_id, guild_id)
        ]
        with self._database.writing() as db:
            self._database.insert(db, SILENT_NAMES, rows)

    def lift(self, user_id: int, guild_id: int) -> None:
        """Forget the names of a person who may be named again."""
        digest = self._people.hasher.digest(user_id, guild_id)
        with self._database.writing() as db:
            db.execute(sa.delete(SILENT_NAMES).where(SILENT_NAMES.c.person_digest == digest))

    def _silent_names(self, db: sa.Connection, names: Collection[str], guild_id: int) -> set[str]:
        if not names or db.scalar(sa.select(SILENT_NAMES.c.name_digest).limit(1)) is None:
            return set()
        digests = {self._people.hasher.digest_name(n, place): n for n in names for place in (guild_id, EVERYWHERE)}
        found = sa.select(SILENT_NAMES.c.name_digest, SILENT_NAMES.c.person_digest)
        rows = db.execute(found.where(SILENT_NAMES.c.name_digest.in_(list(digests)))).fetchall()
        # A name counts as long as its person's opt-out stands.
        standing = self._people.standing(db, {row.person_digest for row in rows})
        return {digests[row.name_digest] for row in rows if row.person_digest in standing}

    def drop(self, user_id: int, guild_id: int | None, names: Collection[str]) -> list[int]:
        """Take a person's id and names out of what others wrote, and quotations of them; return what changed.

        Args:
            user_id: the person.
            guild_id: the server, or None for all.
            names: the names under which their messages were stored.
        """
        folded = {name.strip().casefold() for name in names if name.strip()}
        with self._database.writing() as db:
            changed = []
            for row in db.execute(sa.select(MESSAGES).where(_naming(user_id, guild_id, folded))).mappings().fetchall():
                shown = "" if folded & lines_of(row["embed_text"]) else row["embed_text"]
                values = {
                    name: without_names(without_ids(text, {user_id}), folded)
                    for name, text in (("content", row["content"]), ("embed_text", shown))
                }
                if any(values[name] != row[name] for name in values):
                    self._replace(db, row, values)
                    changed.append(int(row["id"]))
            if changed:
                self._database.text_went(db)
                self._quotations.withdraw(db, changed)
        return changed

    def _replace(self, db: sa.Connection, row: Mapping[Any, Any], values: Mapping[str, str]) -> None:
        number = row["id"]
        db.execute(
            sa.update(MESSAGES)
            .where(MESSAGES.c.id == number)
            .values(**values, revision=MESSAGES.c.revision + 1, index_state=PENDING)
        )
        # The passages of the message and of the answers to it saw the old text.
        seen = sa.select(MESSAGES.c.id).where(sa.or_(MESSAGES.c.id == number, MESSAGES.c.reply_to_id == number))
        db.execute(sa.delete(PASSAGES).where(PASSAGES.c.message_id.in_(seen)))
        self._keywords.delete(db, [number])
        self._keywords.write(db, [keywords_of({**row, **values})])

    def quieted(self, db: sa.Connection, row: Mapping[str, Any], quoted: Collection[int] = ()) -> dict[str, Any]:
        """Return the texts of a row of ``messages`` as they may be stored.

        What it shows beside its words goes whole where somebody who said stop is quoted in it: an embed does not say
        where the quotation ends.

        Args:
            db: the transaction.
            row: the message.
            quoted: the people whom its embeds name as authors.
        """
        content, shown, guild_id = row["content"], row["embed_text"], row["guild_id"]
        people = {(user, guild_id) for user in ids_in(content) | ids_in(shown) | set(quoted)}
        silent = {user for user, _ in self._people.silent_authors(db, people)} if people else set()
        authors = lines_of(shown)
        names = self._silent_names(db, names_in(content) | names_in(shown) | authors, guild_id)
        if silent & set(quoted) or names & authors:
            shown = ""
        return {
            "content": without_names(without_ids(content, silent), names),
            "embed_text": without_names(without_ids(shown, silent), names),
        }


def _naming(user_id: int, guild_id: int | None, names: Collection[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a message may name a person; what it is in truth the text itself says."""
    texts = (MESSAGES.c.content, MESSAGES.c.embed_text)
    parts = [text.contains(str(user_id)) for text in texts]
    for name in names:
        parts.append(sa.func.lower(MESSAGES.c.content).contains(f"@{name}", autoescape=True))
        parts.append(sa.func.lower(MESSAGES.c.embed_text).contains(name, autoescape=True))
    named = sa.or_(*parts)
    return named if guild_id is None else sa.and_(MESSAGES.c.guild_id == guild_id, named)
