"""Verbs about engine runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from costctl.errors import LedgerError
from costctl.ledger.schema import ENGINE_RUNS, SESSIONS
from costctl.ledger.transactions import Transactions
from costctl.ledger.values import EngineRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row


class Runs(Transactions):
    """Engine runs are numbered from 1 in their session; they begin, may become ready, and end."""

    def next_run_number(self, session_id: int) -> int:
        """Return the number that the session's next engine run gets."""
        highest = select(func.max(ENGINE_RUNS.c.number)).where(ENGINE_RUNS.c.session_id == session_id)
        with self._look() as connection:
            return (connection.execute(highest).scalar() or 0) + 1

    def begin_run(
        self, session_id: int, number: int, *, engine: str, model: str, command: Sequence[str], at: datetime
    ) -> None:
        """Record that an engine's process was started.

        Raises:
            LedgerError: the session has a run of this number, has ended, or does not exist.
        """
        values = {"session_id": session_id, "number": number, "engine": engine, "model": model}
        with self._begin() as connection:
            over = select(SESSIONS.c.id).where(SESSIONS.c.id == session_id, SESSIONS.c.ended_at.is_not(None))
            if connection.execute(over).first():
                raise LedgerError(f"session {session_id} has ended: no engine run can begin in it")
            connection.execute(insert(ENGINE_RUNS).values(values | {"command": list(command), "started_at": at}))

    def run_ready(self, session_id: int, number: int, *, at: datetime, startup: Mapping[str, float]) -> None:
        """Record that the engine answers, and the seconds of each phase of its start; a run that has ended stays so.

        Raises:
            LedgerError: there is no such run.
        """
        with self._begin() as connection:
            run = _require(connection, session_id, number)
            if run.ended_at is None:
                values = {"ready_at": max(at, run.started_at), "startup": dict(startup)}
                connection.execute(update(ENGINE_RUNS).where(*_this(session_id, number)).values(values))

    def end_run(self, session_id: int, number: int, *, at: datetime, outcome: str, detail: str | None = None) -> None:
        """Record how the run ended; one that has ended stays as it is.

        Raises:
            LedgerError: there is no such run.
        """
        with self._begin() as connection:
            run = _require(connection, session_id, number)
            if run.ended_at is None:
                values = {"ended_at": max(at, run.ready_at or run.started_at), "outcome": outcome, "detail": detail}
                connection.execute(update(ENGINE_RUNS).where(*_this(session_id, number)).values(values))

    def engine_runs(self, session_id: int) -> list[EngineRun]:
        """Return the session's engine runs in their order."""
        query = select(*ENGINE_RUNS.c).where(ENGINE_RUNS.c.session_id == session_id)
        with self._look() as connection:
            return [_run(row) for row in connection.execute(query.order_by(ENGINE_RUNS.c.number))]

    def start_seconds(self, *, engine: str, model: str, last: int = 20) -> list[float]:
        """Return how long the last successful starts of this engine with this model took, newest first."""
        query = select(ENGINE_RUNS.c.started_at, ENGINE_RUNS.c.ready_at).where(
            ENGINE_RUNS.c.engine == engine, ENGINE_RUNS.c.model == model, ENGINE_RUNS.c.ready_at.is_not(None)
        )
        newest = query.order_by(ENGINE_RUNS.c.started_at.desc(), ENGINE_RUNS.c.session_id.desc()).limit(last)
        with self._look() as connection:
            rows = connection.execute(newest).all()
        return [(ready_at - started_at).total_seconds() for started_at, ready_at in rows if ready_at]


def _this(session_id: int, number: int) -> tuple[Any, Any]:
    return ENGINE_RUNS.c.session_id == session_id, ENGINE_RUNS.c.number == number


def _require(connection: Connection, session_id: int, number: int) -> Any:
    query = select(ENGINE_RUNS.c.started_at, ENGINE_RUNS.c.ready_at, ENGINE_RUNS.c.ended_at)
    row = connection.execute(query.where(*_this(session_id, number))).one_or_none()
    if row is None:
        raise LedgerError(f"the ledger has no engine run {number} in session {session_id}")
    return row


def _run(row: Row[Any]) -> EngineRun:
    known: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    startup = known.pop("startup")
    return EngineRun(**known | {"command": tuple(known["command"])}, startup_seconds=startup or {})
