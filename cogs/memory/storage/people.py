"""What the memory knows of people, and how it lets go of it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping
from functools import lru_cache

import sqlalchemy as sa

from cogs.memory.records import JsonObject, PersonSummary
from cogs.memory.storage.connection import MESSAGES, Database, from_ms
from cogs.memory.storage.tables import Forgotten, OptOut, table_of

OPT_OUTS = table_of(OptOut)
FORGOTTEN = table_of(Forgotten)
EVERYWHERE = 0


def written_by(user_id: int) -> sa.ColumnElement[bool]:
    """Return the condition that a person wrote a message, or that a proxy wrote it for them."""
    return sa.or_(MESSAGES.c.author_id == user_id, MESSAGES.c.proxied_for == user_id)


class PersonHasher:
    """Hashes a person's id with the key of this database, so that the record of an opt-out names nobody."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @lru_cache(maxsize=65536)  # noqa: B019 - one hasher lives as long as the process
    def digest(self, user_id: int, guild_id: int) -> str:
        """Return the keyed hash of a person within a server, or within :data:`EVERYWHERE`."""
        return hmac.new(self._key, f"{user_id}:{guild_id}".encode(), hashlib.sha256).hexdigest()

    def digest_name(self, name: str, guild_id: int) -> str:
        """Return the keyed hash of a name within a server, or within :data:`EVERYWHERE`."""
        return hmac.new(self._key, f"name:{name.strip().casefold()}:{guild_id}".encode(), hashlib.sha256).hexdigest()


class PeopleStore:
    """Answers to the people whose words are kept.

    Of a person it keeps that they said stop, as a keyed hash, until they take it back (:meth:`opt_in`), and likewise
    before when nothing of theirs may come back (:meth:`mark_forgotten`). What they wrote
    is exported here (:meth:`export`) and deleted by :class:`~cogs.memory.storage.messages.MessageStore`.
    """

    def __init__(self, database: Database, hasher: PersonHasher) -> None:
        self._database = database
        self.hasher = hasher

    def silent_authors(self, db: sa.Connection, people: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return those ``(user id, server id)`` who opted out there or everywhere."""
        digests = {
            digest: (user, guild)
            for user, guild in people
            for digest in (self.hasher.digest(user, guild), self.hasher.digest(user, EVERYWHERE))
        }
        everywhere = {self.hasher.digest(user, EVERYWHERE): user for user, _ in people}
        found = set(db.scalars(sa.select(OPT_OUTS.c.digest).where(OPT_OUTS.c.digest.in_(list(digests)))))
        silent = {digests[d] for d in found}
        users = {everywhere[d] for d in found if d in everywhere}
        return silent | {(user, guild) for user, guild in people if user in users}

    def standing(self, db: sa.Connection, digests: Collection[str]) -> set[str]:
        """Return those hashes under which an opt-out stands now."""
        return set(db.scalars(sa.select(OPT_OUTS.c.digest).where(OPT_OUTS.c.digest.in_(list(digests)))))

    def opt_out(self, user_id: int, guild_id: int) -> None:
        """Record that a person said stop in a server, or in :data:`EVERYWHERE`."""
        digest = self.hasher.digest(user_id, guild_id)
        with self._database.writing() as db:
            self._database.insert(db, OPT_OUTS, [{"digest": digest}])

    def opt_in(self, user_id: int, guild_id: int) -> None:
        """Take an opt-out back."""
        with self._database.writing() as db:
            db.execute(sa.delete(OPT_OUTS).where(OPT_OUTS.c.digest == self.hasher.digest(user_id, guild_id)))

    def say_again(self, digests: Collection[str], before: Mapping[str, int]) -> None:
        """Record by their hashes who opted out, and before when who was forgotten, as another database had them."""
        marks = [{"digest": digest, "before_ms": before_ms} for digest, before_ms in before.items()]
        with self._database.writing() as db:
            self._database.insert(db, OPT_OUTS, [{"digest": digest} for digest in set(digests)])
            self._database.insert(db, FORGOTTEN, marks)

    def forgotten_authors(self) -> dict[tuple[int, int], int]:
        """Map those ``(user id, server id)`` of whom messages are stored to before when they were forgotten."""
        with self._database.reading() as db:
            return self.forgotten_before(db, _writers(db))

    def opted_out_authors(self) -> set[tuple[int, int]]:
        """Return those ``(user id, server id)`` who opted out and of whom messages are stored nevertheless."""
        with self._database.reading() as db:
            return self.silent_authors(db, _writers(db))

    def is_opted_out(self, user_id: int, guild_id: int) -> bool:
        """Return whether a person said stop there or everywhere."""
        with self._database.reading() as db:
            return bool(self.silent_authors(db, {(user_id, guild_id)}))

    def mark_forgotten(self, user_id: int, guild_id: int, before_ms: int) -> None:
        """Let nothing that a person wrote before a time come back, in a server or in :data:`EVERYWHERE`."""
        digest = self.hasher.digest(user_id, guild_id)
        with self._database.writing() as db:
            self._database.insert(db, FORGOTTEN, [{"digest": digest, "before_ms": before_ms}])
            later = sa.and_(FORGOTTEN.c.digest == digest, FORGOTTEN.c.before_ms < before_ms)
            db.execute(sa.update(FORGOTTEN).where(later).values(before_ms=before_ms))

    def forgotten_before(self, db: sa.Connection, people: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
        """Map those ``(user id, server id)`` who were forgotten to the time before when nothing may come back."""
        whose: dict[str, list[tuple[int, int]]] = {}
        for person in people:
            for place in (person[1], EVERYWHERE):
                whose.setdefault(self.hasher.digest(person[0], place), []).append(person)
        before: dict[tuple[int, int], int] = {}
        for row in db.execute(sa.select(FORGOTTEN).where(FORGOTTEN.c.digest.in_(list(whose)))):
            for person in whose[row.digest]:
                before[person] = max(before.get(person, 0), row.before_ms)
        return before

    def author_guilds(self, user_id: int) -> list[int]:
        """Return the servers in which a person's messages are stored."""
        with self._database.reading() as db:
            return list(db.scalars(sa.select(MESSAGES.c.guild_id).where(written_by(user_id)).distinct()))

    def summary(self, user_id: int, guild_id: int | None) -> PersonSummary:
        """Return how much of a person is stored, here or everywhere."""
        query = sa.select(
            sa.func.count(),
            sa.func.count(MESSAGES.c.channel_id.distinct()),
            sa.func.min(MESSAGES.c.created_ms),
            sa.func.max(MESSAGES.c.created_ms),
        ).where(written_by(user_id))
        if guild_id is not None:
            query = query.where(MESSAGES.c.guild_id == guild_id)
        with self._database.reading() as db:
            count, channels, first, last = db.execute(query).one()
        return PersonSummary(
            messages=count,
            channels=channels,
            first=None if first is None else from_ms(first),
            last=None if last is None else from_ms(last),
            opted_out=self.is_opted_out(user_id, EVERYWHERE if guild_id is None else guild_id),
        )

    def export(self, user_id: int, guild_id: int | None) -> JsonObject:
        """Return everything stored that a person wrote, as JSON; ids are strings, times ISO 8601."""
        query = sa.select(MESSAGES).where(written_by(user_id)).order_by(MESSAGES.c.id)
        if guild_id is not None:
            query = query.where(MESSAGES.c.guild_id == guild_id)
        with self._database.reading() as db:
            rows = list(db.execute(query).mappings())
        return {
            "format": "mneme-person-export",
            "version": 1,
            "user_id": str(user_id),
            "opted_out": self.is_opted_out(user_id, EVERYWHERE if guild_id is None else guild_id),
            "messages": [
                {
                    "id": str(row["id"]),
                    "guild_id": str(row["guild_id"]),
                    "channel_id": str(row["channel_id"]),
                    "author_name": row["author_name"],
                    "author_username": row["author_username"],
                    "content": row["content"],
                    "created_at": from_ms(row["created_ms"]).isoformat(),
                    "edited_at": None if row["edited_ms"] is None else from_ms(row["edited_ms"]).isoformat(),
                    "reply_to_id": None if row["reply_to_id"] is None else str(row["reply_to_id"]),
                    "attachments": row["attachments"],
                    "embed_text": row["embed_text"],
                }
                for row in rows
            ],
        }


def _writers(db: sa.Connection) -> set[tuple[int, int]]:
    """Return ``(user id, server id)`` of everybody of whom messages are stored."""
    return {
        (int(row[0]), int(row[1]))
        for column in (MESSAGES.c.author_id, MESSAGES.c.proxied_for)
        for row in db.execute(sa.select(column, MESSAGES.c.guild_id).where(column.is_not(None)).distinct())
    }
