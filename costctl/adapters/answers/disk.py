"""Answers in one SQLite file: the store that needs nothing else.

Not diskcache, which does the same: it has had no release since 2023, and unpickles what it finds (CVE-2025-69872).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from costctl.errors import AnswerStoreError
from costctl.ports import StoreContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BUSY_S = 0.5
_LARGEST_PART = 8
"""No entry takes more than this part of the store, or a single one would drive out all others."""
_PAGES_BESIDE = 4 * 4096
"""What an entry may take beside its own bytes, in the index and by the rounding to whole pages."""
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, expires_at REAL NOT NULL, entry BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS ix_answers_expires ON answers (expires_at);
"""
_SPOILT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class DiskStore:
    """Keeps entries in `folder`, which it makes (0700), in `most_bytes` (port AnswerStore); for one process at a time.

    Where there is no room those go first that expire first. It is not worth an fsync: after a power cut the last
    entries are missing. A file that is spoilt is made anew.
    """

    def __init__(self, folder: Path, *, most_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._path = folder / "answers.db"
        self._most_bytes = most_bytes
        self._now = now
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None

    @property
    def name(self) -> str:
        """Its file."""
        return str(self._path)

    def get(self, key: str) -> bytes | None:
        """Return the entry of `key`, None if there is none (any more). Raises AnswerStoreError."""
        query = "SELECT entry FROM answers WHERE key = ? AND expires_at > ?"
        with self._connection() as connection:
            row = connection.execute(query, (key, self._now())).fetchone()
        return row[0] if row and isinstance(row[0], bytes) else None

    def put(self, key: str, entry: bytes, ttl_s: float) -> None:
        """Keep an entry for `ttl_s` seconds, unless it is too large. Raises AnswerStoreError."""
        if len(entry) > self._most_bytes // _LARGEST_PART:
            return
        with self._connection() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            self._make_room(connection, len(entry))
            connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (key, self._now() + ttl_s, entry))

    def content(self) -> StoreContent:
        """Count what is there; nothing is made for that. Raises AnswerStoreError."""
        with self._alone():
            is_there = self._path.exists()
        entries, used = self._count() if is_there else (0, 0)
        return StoreContent(entries=entries, bytes_used=used, bytes_most=self._most_bytes)

    def clear(self) -> int:
        """Drop everything with its file: at once, on a full disk, and if it is spoilt. Raises AnswerStoreError."""
        try:
            dropped = self.content().entries
        except AnswerStoreError:
            dropped = 0
        with self._alone():
            self._let_go()
            self._remove()
        return dropped

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._let_go()

    def _count(self) -> tuple[int, int]:
        with self._connection() as connection:
            query = "SELECT count(*) FROM answers WHERE expires_at > ?"
            (entries,) = connection.execute(query, (self._now(),)).fetchone()
            return entries, _used(connection) if entries else 0

    def _make_room(self, connection: sqlite3.Connection, size: int) -> None:
        connection.execute("DELETE FROM answers WHERE expires_at <= ?", (self._now(),))
        while _used(connection) + size + _PAGES_BESIDE > self._most_bytes:
            (entries,) = connection.execute("SELECT count(*) FROM answers").fetchone()
            if not entries:
                return
            first = "SELECT key FROM answers ORDER BY expires_at LIMIT ?"
            connection.execute(f"DELETE FROM answers WHERE key IN ({first})", (entries // 10 + 1,))  # noqa: S608 - ours

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._alone():
            try:
                self._opened = self._opened or self._open()
                yield self._opened
            except sqlite3.Error as error:
                self._let_go()
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _SPOILT:
                    self._remove()
                raise AnswerStoreError(f"{self.name}: {error}") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Use the file in one thread at a time."""
        with self._lock:
            try:
                yield
            except OSError as error:
                raise AnswerStoreError(f"{self.name}: {error.strerror}") from error

    def _open(self) -> sqlite3.Connection:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._path.touch(mode=0o600)
        if self._path.stat().st_size > self._most_bytes * (1 + 1 / _LARGEST_PART):
            self._remove()  # it was allowed more once, and SQLite gives nothing back
            self._path.touch(mode=0o600)
        self._path.chmod(0o600)
        # isolation_level=None: transactions begin where they are said to.
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _let_go(self) -> None:
        connection, self._opened = self._opened, None
        if connection is not None:
            with closing(connection), suppress(sqlite3.Error):
                connection.rollback()

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)


def _used(connection: sqlite3.Connection) -> int:
    """Return the bytes of the pages that are in use."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
