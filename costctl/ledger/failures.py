"""What a database's errors mean for people: translated here and nowhere else."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from costctl.errors import LedgerError, LedgerUnavailableError

_PRIMARY = 0xFF  # SQLite's extended codes keep the plain one in their lowest byte

_NOT_NOW = {
    sqlite3.SQLITE_BUSY: "is locked by another program: find it with `fuser {name}` and end it, or wait",
    sqlite3.SQLITE_LOCKED: "is locked by another program: find it with `fuser {name}` and end it, or wait",
    sqlite3.SQLITE_READONLY: "cannot be written: check the permissions of the file and its folder",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error ({detail})",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full, free some space",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that it is a file, that its folder exists and may be written",
}
_NOT_EVER = {
    sqlite3.SQLITE_CORRUPT: "is damaged: move it away and put a backup in its place",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database: move it away, or name another ledger",
}


def explain(error: Exception, name: str) -> LedgerError:
    """Return the ledger's error for `error`, which the database called `name` raised."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    detail = (str(cause).splitlines() or [type(cause).__name__])[0]
    if isinstance(cause, sqlite3.Error):
        return _explain_sqlite(cause, name, detail)
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return LedgerUnavailableError(f"the ledger {name} cannot be reached: {detail}")
    return LedgerError(f"the ledger {name} refused: {detail}")


def _explain_sqlite(cause: sqlite3.Error, name: str, detail: str) -> LedgerError:
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    if code in _NOT_NOW:
        return LedgerUnavailableError(f"the ledger {name} {_NOT_NOW[code].format(name=name, detail=detail)}")
    if code in _NOT_EVER:
        return LedgerError(f"the ledger {name} {_NOT_EVER[code]}")
    return LedgerError(f"the ledger {name} refused: {detail}")
