"""Marks of right and wrong on hits, a server's own evaluation set."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "judgements",
        sa.Column("message_id", number, sa.ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("query", sa.String(1000), primary_key=True),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("right", sa.Boolean(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_judgements_guild_id", "judgements", ["guild_id"])
    op.create_index("ix_judgements_user_id", "judgements", ["user_id"])


def downgrade() -> None:
    """Revert."""
    op.drop_table("judgements")
