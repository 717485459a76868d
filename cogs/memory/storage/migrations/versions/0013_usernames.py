"""A message keeps the name of its author's account beside the one that others see."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("messages", sa.Column("author_username", sa.Text(), nullable=False, server_default=""))
    if op.get_bind().dialect.name != "sqlite":
        # PostgreSQL's samples of a column would hold names of people who are forgotten.
        op.execute("ALTER TABLE messages ALTER COLUMN author_username SET STATISTICS 0")


def downgrade() -> None:
    """Revert."""
    op.drop_column("messages", "author_username")
