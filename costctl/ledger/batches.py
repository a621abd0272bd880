"""Verbs about batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from costctl.domain.batches import Outcome, Progress
from costctl.errors import LedgerError
from costctl.ledger.schema import BATCHES, SCHEDULE_RUNS
from costctl.ledger.transactions import Transactions
from costctl.ledger.values import Batch

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection, Select

_BY_START = (BATCHES.c.started_at, BATCHES.c.id)


class Batches(Transactions):
    """Work on a batch begins in a session, gets on, and ends; what a session's end finds open is lost."""

    def begin_batch(self, session_id: int, *, name: str, at: datetime, schedule_run_id: int | None = None) -> int:
        """Record that work on the batch `name` has begun, if by a schedule's run then by which; return its id."""
        values: dict[str, Any] = {"session_id": session_id, "name": name, "started_at": at}
        # A run that is no more, or another ledger's, has no row here; its number may be another's some day.
        still_there = select(SCHEDULE_RUNS.c.id).where(SCHEDULE_RUNS.c.id == schedule_run_id).scalar_subquery()
        values |= {**_counts(Progress()), "schedule_run_id": still_there}
        with self._begin() as connection:
            key = connection.execute(insert(BATCHES).values(values)).inserted_primary_key
        if key is None:
            raise LedgerError(f"the ledger gave the batch {name!r} no number")
        return int(key[0])

    def batch_progressed(self, batch_id: int, done: Progress) -> None:
        """Record what has been done in it so far; one that has ended stays as it is."""
        this = (BATCHES.c.id == batch_id, BATCHES.c.ended_at.is_(None))
        with self._begin() as connection:
            connection.execute(update(BATCHES).where(*this).values(_counts(done)))

    def end_batch(self, batch_id: int, *, at: datetime, done: Progress, outcome: Outcome) -> None:
        """Record what was done in it until `at`, and how it ended.

        Raises:
            LedgerError: there is no such batch.
            ValueError: it ends before it began.
        """
        with self._begin() as connection:
            began = connection.execute(select(BATCHES.c.started_at).where(BATCHES.c.id == batch_id)).scalar()
            if began is None:
                raise LedgerError(f"the ledger has no batch {batch_id}")
            if at < began:
                raise ValueError(f"batch {batch_id} began at {began}, it cannot end at {at}")
            values = {**_counts(done), "ended_at": at, "outcome": outcome}
            connection.execute(update(BATCHES).where(BATCHES.c.id == batch_id).values(values))

    def newest_batches(self, name: str | None = None, *, last: int | None = None) -> list[Batch]:
        """Return the `last` work on batches, or on those called `name`, in the order of their starts."""
        query = select(*BATCHES.c).order_by(BATCHES.c.started_at.desc(), BATCHES.c.id.desc()).limit(last)
        if name is not None:
            query = query.where(BATCHES.c.name == name)
        with self._look() as connection:
            return read_batches(connection, query)[::-1]

    def batches_of_runs(self, schedule_run_ids: Collection[int]) -> list[Batch]:
        """Return what runs of schedules worked on, in the order of their starts."""
        wanted, run_id = set(schedule_run_ids), BATCHES.c.schedule_run_id
        if not wanted:
            return []
        # Not by a list of numbers, of which SQLite takes so many only.
        query = select(*BATCHES.c).where(run_id.between(min(wanted), max(wanted)))
        with self._look() as connection:
            found = read_batches(connection, query.order_by(*_BY_START))
        return [batch for batch in found if batch.schedule_run_id in wanted]

    def batches(self, session_id: int) -> list[Batch]:
        """Return the session's batches in the order of their starts."""
        query = select(*BATCHES.c).where(BATCHES.c.session_id == session_id)
        with self._look() as connection:
            return read_batches(connection, query.order_by(*_BY_START))


def read_batches(connection: Connection, query: Select[Any]) -> list[Batch]:
    """Return the batches that a query for all their columns finds, in its order."""
    rows = connection.execute(query).all()
    return [Batch(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def lose_batches(connection: Connection, session_id: int, *, at: datetime) -> None:
    """End the session's batches that are still open at `at`, with what is known of them."""
    still_open = (BATCHES.c.session_id == session_id, BATCHES.c.ended_at.is_(None))
    for batch in connection.execute(select(BATCHES.c.id, BATCHES.c.started_at).where(*still_open)).all():
        values = {"ended_at": max(at, batch.started_at), "outcome": Outcome.LOST}
        connection.execute(update(BATCHES).where(BATCHES.c.id == batch.id).values(values))


def _counts(done: Progress) -> dict[str, Any]:
    return {
        "requests": done.requests,
        "failed_requests": done.failed,
        "prompt_tokens": done.prompt_tokens,
        "generation_tokens": done.generation_tokens,
    }
