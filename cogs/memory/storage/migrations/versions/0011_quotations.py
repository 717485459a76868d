"""Which messages a reply quoted; and whether Discord itself told of a channel, or only a file."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("channels", sa.Column("confirmed", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.create_table(
        "quotations",
        sa.Column("reply_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("message_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("written", sa.Boolean(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_quotations_message", "quotations", ["message_id"])
    op.create_index("ix_quotations_withdrawn", "quotations", ["withdrawn", "reply_id"])


def downgrade() -> None:
    """Revert."""
    op.drop_table("quotations")
    with op.batch_alter_table("channels") as batch_op:
        batch_op.drop_column("confirmed")
