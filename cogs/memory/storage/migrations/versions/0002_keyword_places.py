"""The keyword index knows each message's channel, so that SQLite finds words within a few channels of many."""

from __future__ import annotations

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name != "sqlite":
        return  # PostgreSQL combines its indexes of words and of channels
    _rebuild(
        "body, author, place",
        # As cogs.memory.storage.bm25.place writes it; a migration stays as it is when the program changes.
        "SELECT k.id, k.c0, k.c1, char(0xe000) || printf('%x', m.channel_id) "
        "FROM keywords_content AS k JOIN messages AS m ON m.id = k.id ORDER BY k.id",
    )


def downgrade() -> None:
    """Revert."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild("body, author", "SELECT id, c0, c1 FROM keywords_content ORDER BY id")


def _rebuild(columns: str, rows: str) -> None:
    op.execute(f"CREATE VIRTUAL TABLE rebuilt USING fts5({columns}, tokenize='unicode61 remove_diacritics 2')")
    # Said before anything is written: see 0001.
    op.execute("INSERT INTO rebuilt(rebuilt, rank) VALUES('secure-delete', 1)")
    op.execute(f"INSERT INTO rebuilt(rowid, {columns}) {rows}")
    op.execute("DROP TABLE keywords")
    op.execute("ALTER TABLE rebuilt RENAME TO keywords")
