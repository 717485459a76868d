"""Servers know whose they are, people when they were forgotten, proxied messages whose they are; words on PostgreSQL.

PostgreSQL's keyword index gets the terms as they are on SQLite, each below its server, and keeps the text of them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cogs.memory.storage.keywords import keywords_of
from cogs.memory.storage.postgresql_keywords import insert_keywords

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None

BATCH = 2_000
TEXTS = {
    "messages": ("content", "embed_text", "author_name"),
    "keywords": ("words", "author", "terms"),
}
"""Columns of which PostgreSQL keeps no samples: its statistics would hold words of forgotten messages."""


def upgrade() -> None:
    """Apply."""
    op.add_column("guilds", sa.Column("application_id", sa.BigInteger(), nullable=True))
    op.add_column("messages", sa.Column("proxied_for", sa.BigInteger(), nullable=True))
    op.add_column("messages", sa.Column("forwarded_from", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_messages_forwarded_from",
        "messages",
        ["forwarded_from"],
        sqlite_where=sa.text("forwarded_from IS NOT NULL"),
        postgresql_where=sa.text("forwarded_from IS NOT NULL"),
    )
    op.create_index(
        "ix_messages_proxied_for",
        "messages",
        ["proxied_for"],
        sqlite_where=sa.text("proxied_for IS NOT NULL"),
        postgresql_where=sa.text("proxied_for IS NOT NULL"),
    )
    op.create_table(
        "forgotten",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("before_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "silent_names",
        sa.Column("name_digest", sa.String(length=64), nullable=False),
        sa.Column("person_digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name_digest", "person_digest"),
    )
    if op.get_bind().dialect.name == "sqlite":
        # What the index's own directory still holds of words that were forgotten goes with the old segments.
        op.execute("INSERT INTO keywords(keywords) VALUES('optimize')")
        return
    op.execute("DROP TABLE keywords")
    op.execute(
        "CREATE TABLE keywords (rowid BIGINT PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE, "
        "words TEXT NOT NULL, author TEXT NOT NULL, terms TSVECTOR NOT NULL)"
    )
    for table, columns in TEXTS.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
    _fill()
    # Without the list of entries that wait: a search would read it from end to end.
    op.execute("CREATE INDEX ix_keywords_terms ON keywords USING gin(terms) WITH (fastupdate = off)")


def _fill() -> None:
    """Write the words of every message. They are computed as the program does it now; a later one may do it anew."""
    db = op.get_bind()
    last = 0
    query = sa.text(
        "SELECT id, guild_id, channel_id, author_name, content, embed_text, attachments FROM messages "
        "WHERE id > :last ORDER BY id LIMIT :limit"
    )
    while rows := db.execute(query, {"last": last, "limit": BATCH}).mappings().all():
        insert_keywords(db, [keywords_of(row) for row in rows])
        last = rows[-1]["id"]


def downgrade() -> None:
    """Revert."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP TABLE keywords")
        op.execute(
            "CREATE TABLE keywords (rowid BIGINT PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE, "
            "body TSVECTOR NOT NULL)"
        )
        op.execute("INSERT INTO keywords SELECT id, to_tsvector('simple', content || ' ' || author_name) FROM messages")
        op.execute("CREATE INDEX ix_keywords_body ON keywords USING gin(body)")
    op.drop_table("silent_names")
    op.drop_table("forgotten")
    op.drop_index("ix_messages_forwarded_from", "messages")
    op.drop_column("messages", "forwarded_from")
    op.drop_index("ix_messages_proxied_for", "messages")
    op.drop_column("messages", "proxied_for")
    op.drop_column("guilds", "application_id")
