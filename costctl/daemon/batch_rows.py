"""The ledger's rows of the batches that are being worked on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from costctl.domain.batches import Outcome, Progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from costctl.domain.batches import Wish
    from costctl.ledger.store import Ledger
    from costctl.ledger.writer import Verb


@dataclass(kw_only=True, slots=True)
class _Row:
    """One batch; `base` is what had been done of it when its present row began."""

    wish: Wish
    progress: Progress = field(default_factory=Progress)
    base: Progress = field(default_factory=Progress)
    written: Progress = field(default_factory=Progress)
    """What the ledger knows of already."""
    ids: list[int] | None = None
    """The open row's number in the ledger, which only its writer learns; the last one, if it had to try again."""

    @property
    def done(self) -> Progress:
        """What has been done of it in its present row."""
        return self.progress.since(self.base)


class BatchRows:
    """Begins and ends rows; a batch that lives on in another session gets another row there."""

    def __init__(self, write: Callable[[Verb], None]) -> None:
        self._write = write
        self._rows: dict[int, _Row] = {}

    def begin(self, number: int, wish: Wish, *, session_id: int, at: datetime) -> None:
        """Write that work on batch `number` begins."""
        self._rows[number] = row = _Row(wish=wish)
        self._begin(row, session_id, at)

    def progressed(self, number: int, progress: Progress) -> None:
        """Take in how far the batch is."""
        self._rows[number].progress = progress

    def beat(self) -> None:
        """Write how far the batches are: it is all that will be known if the daemon is killed."""
        for row in self._rows.values():
            if row.ids is not None and row.progress != row.written:
                row.written = row.progress
                self._write(partial(_progress_row, ids=row.ids, done=row.done))

    def end(self, number: int, outcome: Outcome, *, at: datetime) -> None:
        """Write that work on the batch has ended, how, and what was done."""
        self._end(self._rows.pop(number), outcome, at)

    def end_session(self, at: datetime) -> None:
        """End all rows with their session; the batches may go on."""
        for row in self._rows.values():
            self._end(row, Outcome.INTERRUPTED, at)

    def begin_session(self, session_id: int, at: datetime) -> None:
        """Begin rows in another session for the batches that go on."""
        for row in self._rows.values():
            row.base = row.written = row.progress
            self._begin(row, session_id, at)

    def _begin(self, row: _Row, session_id: int, at: datetime) -> None:
        ids: list[int] = []
        row.ids = ids

        def verb(ledger: Ledger) -> None:
            ids.append(ledger.begin_batch(session_id, name=row.wish.name, at=at, schedule_run_id=row.wish.schedule_run))

        self._write(verb)

    def _end(self, row: _Row, outcome: Outcome, at: datetime) -> None:
        ids, row.ids = row.ids, None
        if ids is not None:  # else it ended with its session
            self._write(partial(_end_row, ids=ids, done=row.done, outcome=outcome, at=at))


def _progress_row(ledger: Ledger, *, ids: list[int], done: Progress) -> None:
    if ids:
        ledger.batch_progressed(ids[-1], done)


def _end_row(ledger: Ledger, *, ids: list[int], done: Progress, outcome: Outcome, at: datetime) -> None:
    if ids:  # else its beginning was left out, and the log says so
        ledger.end_batch(ids[-1], at=at, done=done, outcome=outcome)
