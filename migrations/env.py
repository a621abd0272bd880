"""How Alembic runs the ledger's migrations: on the connection, and in the transaction, that costctl gives it."""

from typing import Any

from alembic import context
from sqlalchemy import TypeDecorator

from costctl.ledger.schema import METADATA


def render_item(kind: str, thing: Any, _autogenerate: Any) -> str | bool:
    """Write column types as plain SQLAlchemy: a released migration must not change when costctl's own types do."""
    if kind == "type" and isinstance(thing, TypeDecorator):
        return f"sa.{thing.impl_instance!r}"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    render_item=render_item,
)
with context.begin_transaction():
    context.run_migrations()
