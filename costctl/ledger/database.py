"""Connections to the ledger's database: how they are opened, what they promise, and what their errors mean."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from costctl.errors import BadValueError, LedgerError, LedgerUnavailableError, MissingPieceError
from costctl.ledger.failures import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_IMMEDIATE = "costctl_immediate"
# How SQLite says that the files which accompany a ledger in WAL mode cannot be made.
_NO_COMPANIONS = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


class Database:
    """The database behind a ledger.

    SQLite runs in WAL mode, so that people read while the daemon writes, and with synchronous=FULL, so that a
    heartbeat that was committed survives a power cut. Whoever finds it locked waits for `busy_s` seconds.
    """

    def __init__(self, url: str, *, read_only: bool = False, busy_s: float = 5.0) -> None:
        self._busy_s = busy_s
        self.path = _file_of(url)
        self._url = make_url("sqlite://") if self.path else _parse(url)
        self._identity: tuple[int, int] | None = None
        self._engine = self._connect_lazily(read_only=read_only)
        # Writers take SQLite's lock when they begin: a lock wanted half-way through cannot be waited for.
        self._writing = self._engine.execution_options(**{_IMMEDIATE: not read_only})

    @property
    def name(self) -> str:
        """What people call it: the file, or the URL without its password."""
        return str(self.path) if self.path else self._url.render_as_string(hide_password=True)

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's own way to write here, for a library that brings its own statements."""
        return self._writing

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection whose reads all see one moment of the ledger.

        Raises:
            LedgerError: it cannot be read.
        """
        with self.translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose writes happen all or not at all.

        Raises:
            LedgerUnavailableError: not now; the same writes may succeed later.
            LedgerError: it cannot be written.
        """
        with self.translated(), self._writing.begin() as connection:
            self._refuse_if_gone()
            yield connection
        self._remember()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the database's errors into the ledger's."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise explain(error, self.name) from error

    def back_up(self, target: Path) -> None:
        """Write a copy of an SQLite ledger to `target`, which must not exist.

        Raises:
            LedgerError: it could not be copied; nothing is left at `target`.
        """
        if self.path is None:
            raise ValueError("only a file can be backed up here")
        with self.translated(), closing(_open(self.path.absolute().as_uri(), self._busy_s)) as connection:
            try:
                connection.execute("VACUUM INTO ?", (str(target),))
            except sqlite3.Error:
                target.unlink(missing_ok=True)
                raise

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._engine.dispose()

    def _connect_lazily(self, *, read_only: bool) -> Engine:
        try:
            if self.path is None:
                return create_engine(
                    self._url, pool_pre_ping=True, execution_options={"postgresql_readonly": read_only}
                )
        except (ArgumentError, NoSuchModuleError) as error:
            raise BadValueError(f"the ledger URL {self.name!r} names an unknown kind of database: {error}") from error
        except ImportError as error:
            message = f"the ledger {self.name} needs the Python module {error.name!r}: install it beside costctl"
            raise MissingPieceError(message) from error
        connect = _reader(self.path, self._busy_s) if read_only else _writer(self.path, self._busy_s)
        engine = create_engine(self._url, creator=connect, poolclass=QueuePool)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _remember(self) -> None:
        if self.path and self._identity is None:
            self._identity = _identity(self.path)

    def _refuse_if_gone(self) -> None:
        # SQLite goes on writing into a deleted file without a word, and all of it would be lost.
        if self.path and self._identity and _identity(self.path) != self._identity:
            raise LedgerUnavailableError(f"the ledger {self.name} was moved or deleted: put it back or restart costctl")


def _file_of(url: str) -> Path | None:
    # Taken as it is, not as a URL: folders may have any characters in their names.
    kind, colon, name = url.partition(":")
    if not colon or kind not in {"sqlite", "sqlite+pysqlite"}:
        return None
    path = name.removeprefix("///")
    if path in {name, "", ":memory:"}:
        raise BadValueError(f"the ledger URL {url!r} names no file: write it like sqlite:////path/to/ledger.db")
    if Path(path).is_dir():
        raise LedgerError(f"the ledger {path} is a folder: name a file in it")
    return Path(path)


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise BadValueError(f"{url!r} is not a ledger URL: write it like sqlite:////path/to/ledger.db") from None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _open(target: str, busy_s: float) -> sqlite3.Connection:
    # isolation_level=None: Python's own idea of when a transaction begins would leave reads and DDL outside of it.
    connection = sqlite3.connect(target, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _writer(path: Path, busy_s: float) -> Callable[[], Any]:
    def connect() -> sqlite3.Connection:
        connection = _open(path.absolute().as_uri(), busy_s)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    return connect


def _reader(path: Path, busy_s: float) -> Callable[[], Any]:
    def connect() -> sqlite3.Connection:
        uri = path.absolute().as_uri()
        connection = _open(f"{uri}?mode=ro", busy_s)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode & 0xFF not in _NO_COMPANIONS or _in_use(path):
                raise
            # They are not there and cannot be made, so nobody writes: read the file as it lies.
            connection = _open(f"{uri}?immutable=1", busy_s)
        connection.execute("PRAGMA query_only = ON")
        return connection

    return connect


def _in_use(path: Path) -> bool:
    return not path.is_file() or path.with_name(f"{path.name}-wal").exists()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_IMMEDIATE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
