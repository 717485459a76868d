"""Servers and channels: what an administrator said of them, and how far each was read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from cogs.memory.records import ChannelInfo
from cogs.memory.storage.connection import CHANNELS, MESSAGES, Database
from cogs.memory.storage.tables import Guild, Label, Tombstone, table_of

GUILDS = table_of(Guild)
TOMBSTONES = table_of(Tombstone)


class GuildStore:
    """Servers and channels. Of a person it keeps nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def upsert(self, guild_id: int, name: str, application_id: int | None = None) -> None:
        """Record a server; ``application_id`` says which bot is in it now, and none that it was imported."""
        seen = {} if application_id is None else {"application_id": application_id, "left_ms": None}
        with self._database.writing() as db:
            self._database.insert(db, GUILDS, [{"id": guild_id, "name": name}])
            db.execute(sa.update(GUILDS).where(GUILDS.c.id == guild_id).values(name=name, **seen))

    def upsert_channels(self, channels: Sequence[ChannelInfo]) -> None:
        """Record channels and threads; what an administrator said of them stays.

        What is not confirmed was told by a file: it changes nothing of a channel that Discord told of or that is
        another server's, and a thread that was private stays so.
        """
        with self._database.writing() as db:
            ids = self._database.ids([c.id for c in channels])
            known = db.execute(sa.select(CHANNELS).where(CHANNELS.c.id.in_(ids))).mappings()
            present = {row["id"]: _channel(row) for row in known}
            for channel in sorted({c.id: c for c in channels}.values(), key=lambda channel: channel.id):
                values = {
                    "guild_id": channel.guild_id,
                    "name": channel.name,
                    "kind": channel.kind,
                    "parent_id": channel.parent_id,
                    "nsfw": channel.nsfw,
                    "private": channel.private,
                    "confirmed": channel.confirmed,
                }
                old = present.get(channel.id)
                if old is not None and not channel.confirmed:
                    if old.confirmed or old.guild_id != channel.guild_id:
                        continue
                    values["private"] = old.private or channel.private
                if old is None:
                    self._database.insert(db, CHANNELS, [{"id": channel.id, "last_seen_id": 0, **values}])
                db.execute(sa.update(CHANNELS).where(CHANNELS.c.id == channel.id).values(**values))

    def channels(self, guild_id: int) -> list[ChannelInfo]:
        """Return the channels and threads of a server."""
        with self._database.reading() as db:
            rows = db.execute(sa.select(CHANNELS).where(CHANNELS.c.guild_id == guild_id)).mappings()
            return [_channel(row) for row in rows]

    def ids(self) -> list[int]:
        """Return every server that has messages or a record."""
        with self._database.reading() as db:
            return sorted(
                set(db.scalars(sa.select(GUILDS.c.id))) | set(db.scalars(sa.select(MESSAGES.c.guild_id).distinct()))
            )

    def applications(self) -> set[tuple[int, int]]:
        """Return ``(application id, server id)`` of the bots that were seen in servers."""
        with self._database.reading() as db:
            rows = db.execute(
                sa.select(GUILDS.c.application_id, GUILDS.c.id).where(GUILDS.c.application_id.is_not(None))
            )
            return {(row[0], row[1]) for row in rows}

    def ids_of(self, application_id: int) -> list[int]:
        """Return the servers that a bot saw last; not those that were only imported, nor another bot's."""
        with self._database.reading() as db:
            return list(db.scalars(sa.select(GUILDS.c.id).where(GUILDS.c.application_id == application_id)))

    def mark_left(self, guild_id: int, application_id: int, left_ms: int) -> bool:
        """Note when a bot left a server; return whether the server was that bot's.

        The first word counts, so that a restart does not lengthen the grace.
        """
        owned = sa.and_(GUILDS.c.id == guild_id, GUILDS.c.application_id == application_id)
        with self._database.writing() as db:
            db.execute(sa.update(GUILDS).where(owned, GUILDS.c.left_ms.is_(None)).values(left_ms=left_ms))
            return db.scalar(sa.select(GUILDS.c.id).where(owned)) is not None

    def set_retention(self, guild_id: int, days: int | None) -> None:
        """Note for how many days a server's messages are kept."""
        with self._database.writing() as db:
            done = db.execute(sa.update(GUILDS).where(GUILDS.c.id == guild_id).values(retention_days=days))
            if not done.rowcount:
                db.execute(sa.insert(GUILDS).values(id=guild_id, name="", retention_days=days))

    def rules(self) -> list[tuple[int, int | None, int | None]]:
        """Return ``(server id, retention in days, left at)`` of every server."""
        with self._database.reading() as db:
            rows = db.execute(sa.select(GUILDS.c.id, GUILDS.c.retention_days, GUILDS.c.left_ms))
            return [(row[0], row[1], row[2]) for row in rows]

    def inclusion(self, guild_id: int) -> dict[int, tuple[int | None, bool | None]]:
        """Map each channel of a server to its parent and to what an administrator said of it."""
        with self._database.reading() as db:
            rows = db.execute(
                sa.select(CHANNELS.c.id, CHANNELS.c.parent_id, CHANNELS.c.included).where(
                    CHANNELS.c.guild_id == guild_id
                )
            )
            return {row.id: (row.parent_id, row.included) for row in rows}

    def set_included(self, guild_id: int, channel_id: int, included: bool | None) -> None:
        """Record an administrator's word on a channel."""
        with self._database.writing() as db:
            done = db.execute(
                sa.update(CHANNELS)
                .where(CHANNELS.c.id == channel_id, CHANNELS.c.guild_id == guild_id)
                .values(included=included)
            )
            # One of another server is not this server's to speak of.
            elsewhere = db.scalar(sa.select(CHANNELS.c.id).where(CHANNELS.c.id == channel_id)) is not None
            if not done.rowcount and not elsewhere:
                db.execute(
                    sa.insert(CHANNELS).values(
                        id=channel_id,
                        guild_id=guild_id,
                        name="",
                        kind="text",
                        nsfw=False,
                        private=False,
                        included=included,
                        last_seen_id=0,
                    )
                )

    def last_seen(self, guild_id: int) -> dict[int, int]:
        """Map each channel to the newest message id that was seen in it; 0 where none was."""
        with self._database.reading() as db:
            rows = db.execute(sa.select(CHANNELS.c.id, CHANNELS.c.last_seen_id).where(CHANNELS.c.guild_id == guild_id))
            return {row.id: row.last_seen_id for row in rows}

    def mark_seen(self, channel_id: int, message_id: int) -> None:
        """Move a channel's watermark forward, never back."""
        with self._database.writing() as db:
            self.note_seen(db, {channel_id: message_id})

    def confirmed(self, db: sa.Connection, channel_ids: Collection[int]) -> set[int]:
        """Return those channels that Discord told of, and not only a file."""
        if not channel_ids:
            return set()
        known = sa.select(CHANNELS.c.id).where(CHANNELS.c.confirmed, CHANNELS.c.id.in_(self._database.ids(channel_ids)))
        return set(db.scalars(known))

    def note_seen(self, db: sa.Connection, newest: Mapping[int, int]) -> None:
        """Move the watermarks of channels forward inside a transaction."""
        # In one statement, and by every process in the same order: no deadlock.
        seen = [{"id": channel_id, "seen": message_id} for channel_id, message_id in sorted(newest.items())]
        if seen:
            db.execute(
                sa.text("UPDATE channels SET last_seen_id = :seen WHERE id = :id AND last_seen_id < :seen"), seen
            )

    def backfill_cursor(self, channel_id: int) -> tuple[int | None, int | None]:
        """Return where a backfill of a channel stands and where it ends (message ids), or Nones."""
        with self._database.reading() as db:
            row = db.execute(
                sa.select(CHANNELS.c.backfill_cursor, CHANNELS.c.backfill_until).where(CHANNELS.c.id == channel_id)
            ).first()
            return (None, None) if row is None else (row[0], row[1])

    def set_backfill_cursor(self, channel_id: int, cursor: int | None, until: int | None) -> None:
        """Record where a backfill stands; Nones where it is done."""
        with self._database.writing() as db:
            db.execute(
                sa.update(CHANNELS)
                .where(CHANNELS.c.id == channel_id)
                .values(backfill_cursor=cursor, backfill_until=until)
            )

    def drop_channels(self, guild_id: int, channel_ids: Collection[int]) -> None:
        """Delete the records of channels and their threads; their messages go one by one."""
        with self._database.writing() as db:
            db.execute(
                sa.delete(CHANNELS).where(
                    CHANNELS.c.guild_id == guild_id,
                    sa.or_(
                        CHANNELS.c.id.in_(self._database.ids(channel_ids)),
                        CHANNELS.c.parent_id.in_(self._database.ids(channel_ids)),
                    ),
                )
            )

    def drop(self, guild_id: int) -> None:
        """Delete a server's own records; its messages go by :meth:`delete`. Tombstones go as well: it is over."""
        with self._database.writing() as db:
            for table in (CHANNELS, TOMBSTONES, table_of(Label)):
                db.execute(sa.delete(table).where(table.c.guild_id == guild_id))
            db.execute(sa.delete(GUILDS).where(GUILDS.c.id == guild_id))


def _channel(row: sa.RowMapping) -> ChannelInfo:
    names = ("id", "guild_id", "name", "kind", "parent_id", "nsfw", "private", "confirmed")
    return ChannelInfo(**{name: row[name] for name in names})
