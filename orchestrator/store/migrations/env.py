"""Alembic's entry: runs the migrations on the connection that `migrate` holds the lock with."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from orchestrator.store.schema import Base, UtcDateTime


def _render(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """In a migration our time type is written as what the database sees, so that old migrations never change."""
    return "sa.DateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    render_item=_render,
    render_as_batch=True,  # SQLite changes a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
