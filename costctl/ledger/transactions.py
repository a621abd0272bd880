"""What all verbs share: a transaction each, or one around several."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from costctl.ledger.database import Database


class _Present(threading.local):
    connection: Connection | None = None


class Transactions:
    """Verbs begin here; those inside `transaction()` join it, per thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._present = _Present()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the verbs in this block happen all or not at all.

        An error of a verb has to leave the block: SQLite may have rolled back already.

        Raises:
            LedgerUnavailableError: nothing was written; the same verbs may succeed later.
            LedgerError: nothing was written.
        """
        with self._begin():
            yield

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        if self._present.connection is not None:
            with self._database.translated():
                yield self._present.connection
            return
        with self._database.writing() as connection:
            self._present.connection = connection
            try:
                yield connection
            finally:
                self._present.connection = None

    @contextmanager
    def _look(self) -> Iterator[Connection]:
        if self._present.connection is not None:
            with self._database.translated():
                yield self._present.connection
            return
        with self._database.reading() as connection:
            yield connection
