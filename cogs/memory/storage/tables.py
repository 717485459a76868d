"""The tables. The database is the truth: every index can be rebuilt from what stands here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

PENDING, INDEXED, FAILED = 0, 1, 2
"""States of the table's own queue, ``messages.index_state``."""


Snowflake = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit id; in SQLite the row's own number, where it is the primary key."""


class Base(DeclarativeBase):
    """The declarative base of every table."""


def table_of(model: type[Base]) -> Table:
    """Return the table of a model, for SQL that is written out."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


class Guild(Base):
    """A server. ``left_ms`` is set while it waits out its grace period.

    ``application_id`` is the bot user of the application that saw it last; none ever saw one that was only imported.
    """

    __tablename__ = "guilds"

    id: Mapped[int] = mapped_column(Snowflake, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text, default="")
    retention_days: Mapped[int | None] = mapped_column(Integer)
    left_ms: Mapped[int | None] = mapped_column(BigInteger)
    application_id: Mapped[int | None] = mapped_column(BigInteger)


class Channel(Base):
    """A channel or thread.

    ``included`` overrules ``MNEME_REMEMBER``; ``None`` leaves it to the setting. ``confirmed`` where Discord told of it
    and not only a file.
    """

    __tablename__ = "channels"

    id: Mapped[int] = mapped_column(Snowflake, primary_key=True, autoincrement=False)
    guild_id: Mapped[int] = mapped_column(BigInteger, index=True)
    parent_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    name: Mapped[str] = mapped_column(Text, default="")
    kind: Mapped[str] = mapped_column(String(16), default="text")
    nsfw: Mapped[bool] = mapped_column(Boolean, default=False)
    private: Mapped[bool] = mapped_column(Boolean, default=False)
    included: Mapped[bool | None] = mapped_column(Boolean)
    last_seen_id: Mapped[int] = mapped_column(BigInteger, default=0)
    backfill_cursor: Mapped[int | None] = mapped_column(BigInteger)
    backfill_until: Mapped[int | None] = mapped_column(BigInteger)
    confirmed: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())


class Message(Base):
    """One remembered message. ``revision`` grows with every change, so that late work cannot overwrite it.

    ``proxied_for`` is the person for whom a webhook wrote it (PluralKit, Tupperbox), where that is known;
    ``forwarded_from`` is the message that it forwards.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_channel", "channel_id", "created_ms"),
        Index("ix_messages_author", "author_id", "guild_id"),
        Index("ix_messages_queue", "index_state", "id"),
        Index("ix_messages_reply", "reply_to_id"),
        Index(
            "ix_messages_forwarded_from",
            "forwarded_from",
            sqlite_where=text("forwarded_from IS NOT NULL"),
            postgresql_where=text("forwarded_from IS NOT NULL"),
        ),
        Index(
            "ix_messages_proxied_for",
            "proxied_for",
            sqlite_where=text("proxied_for IS NOT NULL"),
            postgresql_where=text("proxied_for IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Snowflake, primary_key=True, autoincrement=False)
    guild_id: Mapped[int] = mapped_column(BigInteger, index=True)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    author_id: Mapped[int] = mapped_column(BigInteger)
    author_name: Mapped[str] = mapped_column(Text)
    author_username: Mapped[str] = mapped_column(Text, default="", server_default="")
    author_is_bot: Mapped[bool] = mapped_column(Boolean, default=False)
    content: Mapped[str] = mapped_column(Text)
    embed_text: Mapped[str] = mapped_column(Text, default="")
    attachments: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    edited_ms: Mapped[int | None] = mapped_column(BigInteger)
    reply_to_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(16), default="default")
    has_link: Mapped[bool] = mapped_column(Boolean, default=False)
    has_image: Mapped[bool] = mapped_column(Boolean, default=False)
    has_file: Mapped[bool] = mapped_column(Boolean, default=False)
    proxied_for: Mapped[int | None] = mapped_column(BigInteger)
    forwarded_from: Mapped[int | None] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(Integer, default=1)
    index_state: Mapped[int] = mapped_column(Integer, default=PENDING)


class Vector(Base):
    """A message's embedding under one model: float16, unit length. ``seq`` orders all writes."""

    __tablename__ = "vectors"
    __table_args__ = (Index("ix_vectors_guild", "guild_id", "model_key", "message_id", "seq"),)

    message_id: Mapped[int] = mapped_column(Snowflake, ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    model_key: Mapped[str] = mapped_column(String(200), primary_key=True)
    guild_id: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class Tombstone(Base):
    """The id of a message that was deleted, so that no import, backfill or late event brings it back."""

    __tablename__ = "tombstones"

    message_id: Mapped[int] = mapped_column(Snowflake, primary_key=True, autoincrement=False)
    guild_id: Mapped[int] = mapped_column(BigInteger, index=True)


class OptOut(Base):
    """A person who said stop, as a keyed hash of their id and the server (or of "everywhere")."""

    __tablename__ = "opt_outs"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)


class Forgotten(Base):
    """Before when nothing of a person may come back, as a keyed hash like an opt-out's."""

    __tablename__ = "forgotten"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    before_ms: Mapped[int] = mapped_column(BigInteger)


class SilentName(Base):
    """A name under which a person who said stop was known, as a keyed hash, with the hash of their opt-out."""

    __tablename__ = "silent_names"

    name_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_digest: Mapped[str] = mapped_column(String(64), primary_key=True)


class Label(Base):
    """An administrator's label, and the sentence and examples (a line each) that a message is judged against."""

    __tablename__ = "labels"

    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    description: Mapped[str] = mapped_column(Text)
    examples: Mapped[str] = mapped_column(Text, default="", server_default="")


class MessageLabel(Base):
    """A label that a message carries, with the reranker's probability."""

    __tablename__ = "message_labels"
    __table_args__ = (Index("ix_message_labels_name", "guild_id", "name"),)

    message_id: Mapped[int] = mapped_column(Snowflake, ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    guild_id: Mapped[int] = mapped_column(BigInteger)
    probability: Mapped[float] = mapped_column()


class PreparedPassageRow(Base):
    """A passage encoded ahead of time for an encoder-decoder reranker."""

    __tablename__ = "passages"

    message_id: Mapped[int] = mapped_column(Snowflake, ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(300), primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class Judgement(Base):
    """Whether somebody called a message right or wrong for a question."""

    __tablename__ = "judgements"

    message_id: Mapped[int] = mapped_column(Snowflake, ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    query: Mapped[str] = mapped_column(String(1000), primary_key=True)
    guild_id: Mapped[int] = mapped_column(BigInteger, index=True)
    right: Mapped[bool] = mapped_column(Boolean)
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)


class Quotation(Base):
    """A message that a reply of the bot quotes. It stays when the message goes, until the reply is changed.

    ``written`` where a language model wrote the reply, so that no part of it can be told from the others;
    ``withdrawn`` where the message is gone or says something else now.
    """

    __tablename__ = "quotations"
    __table_args__ = (
        Index("ix_quotations_message", "message_id"),
        Index("ix_quotations_withdrawn", "withdrawn", "reply_id"),
    )

    reply_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    written: Mapped[bool] = mapped_column(Boolean)
    withdrawn: Mapped[bool] = mapped_column(Boolean)


class Meta(Base):
    """Small facts about this memory: the profile in use, counters."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
