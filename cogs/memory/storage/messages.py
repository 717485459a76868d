"""Messages, and everything that goes with one: what was computed from it, and the mark that it is gone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cogs.memory.records import IncomingMessage
from cogs.memory.storage.admission import Admission
from cogs.memory.storage.connection import CHANNELS, MESSAGES, Database
from cogs.memory.storage.guilds import TOMBSTONES, GuildStore
from cogs.memory.storage.keywords import KeywordStore, keywords_of
from cogs.memory.storage.labels import MESSAGE_LABELS
from cogs.memory.storage.people import written_by
from cogs.memory.storage.quotations import QuotationStore
from cogs.memory.storage.silence import PASSAGES
from cogs.memory.storage.tables import PENDING
from cogs.memory.storage.vectors import VECTORS


@dataclass(frozen=True, slots=True)
class Saved:
    """What a batch changed: ids that are new, ids whose text is another one now."""

    new: tuple[int, ...] = ()
    changed: tuple[int, ...] = ()
    left: frozenset[int] = frozenset()
    """Channels that messages were moved out of; see :meth:`MessageStore.save`."""


_SHOWN = ("content", "embed_text", "attachments", "author_name", "channel_id")
"""What makes a message another one than is stored."""


class MessageStore:
    """The messages. One is committed here before anything else happens to it.

    Of a person it keeps what they wrote: id, name, text, names and addresses of attachments, times. :meth:`delete`
    takes it away with everything derived from it and leaves the message's id, so that it cannot come back;
    :meth:`~cogs.memory.storage.people.PeopleStore.export` hands it out.
    """

    def __init__(
        self,
        database: Database,
        guilds: GuildStore,
        keywords: KeywordStore,
        quotations: QuotationStore,
        admission: Admission,
    ) -> None:
        """Build it over the stores that a message is written to.

        Args:
            database: where the rows lie.
            guilds: keeps the channels' watermarks.
            keywords: the keyword index.
            quotations: which replies quote a message.
            admission: decides what of a batch may be stored.
        """
        self._database = database
        self._guilds = guilds
        self._keywords = keywords
        self._quotations = quotations
        self._admission = admission

    def save(self, messages: Sequence[IncomingMessage], *, mark_seen: bool = True) -> Saved:
        """Commit new and changed messages, their keywords and their place in the queue, in one transaction.

        Deleted messages, opted-out people, what a person was forgotten for and what is older than the server keeps are
        dropped inside the same transaction, so that neither a late event, nor a race, nor a backfill or an import of
        old messages brings them back. An older version than the stored one is ignored. ``mark_seen`` moves the
        channels' watermarks; it is off while older messages are still being fetched. A message that comes again in
        another channel moves there: an export of a thread repeats the message that began it, and only the export of
        the channel that it stands in tells that. No message moves to another server, nor out of a channel that
        Discord told of.
        """
        if not messages:
            return Saved()
        latest = {m.id: m for m in messages}
        with self._database.writing() as db:
            wanted = list(latest)
            stored = {
                row["id"]: row
                for row in db.execute(
                    sa.select(MESSAGES).where(MESSAGES.c.id.in_(self._database.ids(wanted)))
                ).mappings()
            }
            new, changed, left = [], [], set[int]()
            live = self._guilds.confirmed(db, {row["channel_id"] for row in stored.values()})
            for row in self._admission.rows(db, latest.values(), stored):
                old = stored.get(row["id"])
                if old is not None and old["channel_id"] != row["channel_id"] and old["channel_id"] in live:
                    continue  # Discord told where it stands; this one only says that it has the other's id
                if old is None:
                    new.append(row)
                elif (
                    row["guild_id"] == old["guild_id"]
                    and (row["edited_ms"] or 0) >= (old["edited_ms"] or 0)
                    and any(row[c] != old[c] for c in _SHOWN)
                ):
                    changed.append(row)
                    left |= {old["channel_id"]} - {row["channel_id"]}
                    row["forwarded_from"] = row["forwarded_from"] or old["forwarded_from"]
            self._database.insert(db, MESSAGES, [{**row, "revision": 1, "index_state": PENDING} for row in new])
            for row in sorted(changed, key=lambda row: int(row["id"])):
                db.execute(
                    sa.update(MESSAGES)
                    .where(MESSAGES.c.id == row["id"])
                    .values(**row, revision=MESSAGES.c.revision + 1, index_state=PENDING)
                )
            self._forget_derived(db, [row["id"] for row in changed])
            self._quotations.withdraw(db, [row["id"] for row in changed if _says_another(stored[row["id"]], row)])
            self._keywords.write(db, [keywords_of(row) for row in new + changed])
            newest: dict[int, int] = {}
            for message in latest.values():
                newest[message.channel_id] = max(newest.get(message.channel_id, 0), message.id)
            if mark_seen:
                self._guilds.note_seen(db, newest)
        return Saved(tuple(row["id"] for row in new), tuple(row["id"] for row in changed), frozenset(left))

    def _forget_derived(self, db: sa.Connection, message_ids: Collection[int]) -> None:
        """Delete what was computed from messages, and queue the answers to them, whose vectors saw their text."""
        if not message_ids:
            return
        self._database.text_went(db)
        for table in (VECTORS, MESSAGE_LABELS, PASSAGES):
            db.execute(sa.delete(table).where(table.c.message_id.in_(self._database.ids(message_ids))))
        self._keywords.delete(db, message_ids)
        # A passage of an answer saw the text that it answers.
        answers = MESSAGES.c.reply_to_id.in_(self._database.ids(message_ids))
        db.execute(sa.delete(PASSAGES).where(PASSAGES.c.message_id.in_(sa.select(MESSAGES.c.id).where(answers))))
        db.execute(
            sa.update(MESSAGES)
            .where(MESSAGES.c.reply_to_id.in_(self._database.ids(message_ids)))
            .values(index_state=PENDING)
        )

    def delete(
        self, guild_id: int, message_ids: Collection[int], after_commit: Callable[[list[int]], None]
    ) -> list[int]:
        """Delete messages and everything derived from them, and remember their ids as deleted.

        ``after_commit`` takes them out of the index while nobody else may write. Returns the ids that were stored.
        """
        with self._database.write_lock:
            with self._database.writing() as db:
                present = self._delete(db, guild_id, message_ids)
            after_commit(list(message_ids))
            return present

    def _delete(self, db: sa.Connection, guild_id: int, message_ids: Collection[int]) -> list[int]:
        wanted = self._database.ids(message_ids)
        present = list(
            db.scalars(sa.select(MESSAGES.c.id).where(MESSAGES.c.id.in_(wanted), MESSAGES.c.guild_id == guild_id))
        )
        self._forget_derived(db, present)
        self._quotations.withdraw(db, message_ids)
        db.execute(sa.delete(MESSAGES).where(MESSAGES.c.id.in_(self._database.ids(present))))
        dead = set(message_ids) - set(
            db.scalars(sa.select(TOMBSTONES.c.message_id).where(TOMBSTONES.c.message_id.in_(wanted)))
        )
        # A tombstone only for what is gone: an id of another server's living message is not ours to bury.
        alive = set(db.scalars(sa.select(MESSAGES.c.id).where(MESSAGES.c.id.in_(wanted))))
        rows = [{"message_id": i, "guild_id": guild_id} for i in dead - alive]
        self._database.insert(db, TOMBSTONES, rows)
        return present

    def forwards_of(self, message_ids: Collection[int], guild_id: int | None) -> dict[int, list[int]]:
        """Map servers to the ids of the messages there that forward one of these, in one server or in all."""
        query = sa.select(MESSAGES.c.guild_id, MESSAGES.c.id).where(
            MESSAGES.c.forwarded_from.in_(self._database.ids(message_ids))
        )
        found: dict[int, list[int]] = {}
        with self._database.reading() as db:
            for row in db.execute(query if guild_id is None else query.where(MESSAGES.c.guild_id == guild_id)):
                found.setdefault(row.guild_id, []).append(row.id)
        return found

    def ids_where(
        self,
        guild_id: int,
        *,
        channel_ids: Collection[int] | None = None,
        author_id: int | None = None,
        before_ms: int | None = None,
    ) -> list[int]:
        """Return the ids of a server's messages, narrowed by channel (threads of it included), author or age."""
        query = sa.select(MESSAGES.c.id).where(MESSAGES.c.guild_id == guild_id)
        if channel_ids is not None:
            threads = sa.select(CHANNELS.c.id).where(CHANNELS.c.parent_id.in_(self._database.ids(channel_ids)))
            query = query.where(
                sa.or_(MESSAGES.c.channel_id.in_(self._database.ids(channel_ids)), MESSAGES.c.channel_id.in_(threads))
            )
        if author_id is not None:
            query = query.where(written_by(author_id))
        if before_ms is not None:
            query = query.where(MESSAGES.c.created_ms < before_ms)
        with self._database.reading() as db:
            return list(db.scalars(query))

    def holds(self, guild_id: int, message_id: int) -> bool:
        """Return whether a message is stored as one of a server's."""
        query = sa.select(MESSAGES.c.id).where(MESSAGES.c.id == message_id, MESSAGES.c.guild_id == guild_id)
        with self._database.reading() as db:
            return db.scalar(query) is not None

    def stored_versions(self, channel_id: int, first_id: int, last_id: int) -> dict[int, tuple[str, int | None]]:
        """Map the ids of a channel between two ids, both included, to ``(content, edited_ms)``."""
        query = sa.select(MESSAGES.c.id, MESSAGES.c.content, MESSAGES.c.edited_ms).where(
            MESSAGES.c.channel_id == channel_id, MESSAGES.c.id.between(first_id, last_id)
        )
        with self._database.reading() as db:
            return {row.id: (row.content, row.edited_ms) for row in db.execute(query)}

    def rewrite_keywords(self, message_ids: Collection[int]) -> None:
        """Index the keywords of messages anew from their rows."""
        with self._database.writing() as db:
            wanted = MESSAGES.c.id.in_(self._database.ids(message_ids))
            rows = db.execute(sa.select(MESSAGES).where(wanted)).mappings().all()
            self._keywords.delete(db, [row["id"] for row in rows])
            self._keywords.write(db, [keywords_of(row) for row in rows])


def _says_another(old: sa.RowMapping, new: Mapping[str, Any]) -> bool:
    """Return whether something that a message said is no longer in it; Discord adds the preview of a link later."""
    return old["content"] != new["content"] or not new["embed_text"].startswith(old["embed_text"])
