"""Alembic's environment: it runs on the connection that :func:`cogs.memory.storage.database.migrate` hands over."""

from __future__ import annotations

from alembic import context

from cogs.memory.storage.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=True, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
