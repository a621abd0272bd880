"""Which revision a ledger is at, and bringing it to the one that this costctl knows.

Alembic is heavy, so the revision is read without it, and it is loaded only when there is something to change.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, inspect, select, text

from costctl import resources
from costctl.errors import LedgerError, LedgerMissingError, LedgerOlderError, LedgerTooNewError
from costctl.ledger.schema import METADATA, REVISION

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from costctl.ledger.database import Database

_MIGRATION_LOCK = int.from_bytes(b"costctl")
"""Which advisory lock of PostgreSQL stands for the ledger's migrations."""


def bring_up_to_date(database: Database, *, scripts: Path | None = None, newest: str = REVISION) -> None:
    """Create the ledger's tables, or back up and migrate those of an older costctl.

    Args:
        database: where the ledger is, or shall be.
        scripts: the folder of migrations; costctl's own by default.
        newest: the revision that they lead to.

    Raises:
        LedgerTooNewError: a newer costctl wrote it.
        LedgerError: it is not a ledger, or cannot be written.
    """
    found = _find(database)
    if found == newest:
        return
    _refuse_newer(database, found, newest)
    if found is not None and database.path is not None:
        database.back_up(backup_path(database.path, revision=found, at=datetime.now(UTC)))
    with database.writing() as connection:
        _wait_for_turn(connection)
        _upgrade(connection, scripts or resources.folder("migrations"))


def require_current(database: Database) -> None:
    """Refuse a ledger that cannot be read as it is.

    Raises:
        LedgerMissingError: there is none yet.
        LedgerOlderError: an older costctl wrote it.
        LedgerTooNewError: a newer costctl wrote it.
        LedgerError: it is something else.
    """
    if database.path and not database.path.exists():
        raise LedgerMissingError(_none_yet(database.name))
    found = _find(database)
    if found is None:
        raise LedgerMissingError(_none_yet(database.name))
    _refuse_newer(database, found, REVISION)
    if found != REVISION:
        raise LedgerOlderError(
            f"the ledger {database.name} is an older costctl's (revision {found}): "
            "run `costctl serve` once to bring it up to date"
        )


def backup_path(path: Path, *, revision: str, at: datetime) -> Path:
    """Return where a copy of the ledger at `path` goes before `revision` is left behind."""
    return path.with_name(f"{path.stem}-{revision}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}.backup{path.suffix}")


def _find(database: Database) -> str | None:
    with database.reading() as connection:
        tables = set(inspect(connection).get_table_names())
        if "alembic_version" in tables:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return None if found is None else str(found)
    if database.path and tables:
        raise LedgerError(f"{database.name} is a database of something else, not a ledger: name another file")
    if tables & set(METADATA.tables):
        raise LedgerError(f"the database {database.name} has tables of the ledger's names, but no revision")
    return None


def _refuse_newer(database: Database, found: str | None, newest: str) -> None:
    if found is not None and not (found.isdigit() and found <= newest):
        message = f"the ledger {database.name} was written by a newer costctl (revision {found}): upgrade costctl"
        raise LedgerTooNewError(message)


def _wait_for_turn(connection: Connection) -> None:
    """Let another costctl finish that migrates this ledger at the same moment; writers of SQLite wait anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))


def _none_yet(name: str) -> str:
    return f"no ledger at {name} yet: it is made by the first `costctl serve`"


def _upgrade(connection: Connection, scripts: Path) -> None:
    from alembic import command  # noqa: PLC0415 - heavy, and seldom needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
