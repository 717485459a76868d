"""The first schema: messages and what belongs to them, vectors, tombstones, opt-outs, and the keyword index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "channels",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("nsfw", sa.Boolean(), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("included", sa.Boolean(), nullable=True),
        sa.Column("last_seen_id", sa.BigInteger(), nullable=False),
        sa.Column("backfill_cursor", sa.BigInteger(), nullable=True),
        sa.Column("backfill_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("channels", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_channels_guild_id"), ["guild_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_channels_parent_id"), ["parent_id"], unique=False)

    op.create_table(
        "guilds",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("left_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "labels",
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "name"),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("author_id", sa.BigInteger(), nullable=False),
        sa.Column("author_name", sa.Text(), nullable=False),
        sa.Column("author_is_bot", sa.Boolean(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("embed_text", sa.Text(), nullable=False),
        sa.Column("attachments", sa.JSON(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("edited_ms", sa.BigInteger(), nullable=True),
        sa.Column("reply_to_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("has_link", sa.Boolean(), nullable=False),
        sa.Column("has_image", sa.Boolean(), nullable=False),
        sa.Column("has_file", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("index_state", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.create_index("ix_messages_author", ["author_id", "guild_id"], unique=False)
        batch_op.create_index("ix_messages_channel", ["channel_id", "created_ms"], unique=False)
        batch_op.create_index(batch_op.f("ix_messages_guild_id"), ["guild_id"], unique=False)
        batch_op.create_index("ix_messages_queue", ["index_state", "id"], unique=False)
        batch_op.create_index("ix_messages_reply", ["reply_to_id"], unique=False)

    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "opt_outs",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "tombstones",
        sa.Column(
            "message_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id"),
    )
    with op.batch_alter_table("tombstones", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tombstones_guild_id"), ["guild_id"], unique=False)

    op.create_table(
        "message_labels",
        sa.Column("message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message_id", "name"),
    )
    with op.batch_alter_table("message_labels", schema=None) as batch_op:
        batch_op.create_index("ix_message_labels_name", ["guild_id", "name"], unique=False)

    op.create_table(
        "passages",
        sa.Column("message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message_id", "key"),
    )
    op.create_table(
        "vectors",
        sa.Column("message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model_key", sa.String(length=200), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message_id", "model_key"),
    )
    with op.batch_alter_table("vectors", schema=None) as batch_op:
        batch_op.create_index("ix_vectors_guild", ["guild_id", "model_key", "message_id", "seq"], unique=False)

    if op.get_bind().dialect.name == "sqlite":
        # The index keeps its own copy of the terms: only such a table honours secure-delete, which takes a deleted
        # message's terms out of the file at once. A contentless one leaves them until segments merge.
        op.execute("CREATE VIRTUAL TABLE keywords USING fts5(body, author, tokenize='unicode61 remove_diacritics 2')")
        op.execute("INSERT INTO keywords(keywords, rank) VALUES('secure-delete', 1)")
    else:
        op.execute(
            "CREATE TABLE keywords (rowid BIGINT PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE, "
            "body TSVECTOR NOT NULL)"
        )
        op.execute("CREATE INDEX ix_keywords_body ON keywords USING gin(body)")


def downgrade() -> None:
    """Revert."""
    op.execute("DROP TABLE keywords")
    with op.batch_alter_table("vectors", schema=None) as batch_op:
        batch_op.drop_index("ix_vectors_guild")

    op.drop_table("vectors")
    op.drop_table("passages")
    with op.batch_alter_table("message_labels", schema=None) as batch_op:
        batch_op.drop_index("ix_message_labels_name")

    op.drop_table("message_labels")
    with op.batch_alter_table("tombstones", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tombstones_guild_id"))

    op.drop_table("tombstones")
    op.drop_table("opt_outs")
    op.drop_table("meta")
    with op.batch_alter_table("messages", schema=None) as batch_op:
        batch_op.drop_index("ix_messages_reply")
        batch_op.drop_index("ix_messages_queue")
        batch_op.drop_index(batch_op.f("ix_messages_guild_id"))
        batch_op.drop_index("ix_messages_channel")
        batch_op.drop_index("ix_messages_author")

    op.drop_table("messages")
    op.drop_table("labels")
    op.drop_table("guilds")
    with op.batch_alter_table("channels", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_channels_parent_id"))
        batch_op.drop_index(batch_op.f("ix_channels_guild_id"))

    op.drop_table("channels")
