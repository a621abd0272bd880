"""Verbs about schedules and their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from costctl.domain.schedules import RunOutcome, Schedule, no_schedule, parse_rule
from costctl.errors import LedgerError, RefusedError
from costctl.ledger.schema import BATCHES, SCHEDULE_RUNS, SCHEDULES
from costctl.ledger.transactions import Transactions
from costctl.ledger.values import ScheduleRun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_SECOND_US = 1_000_000


class Schedules(Transactions):
    """Schedules belong to a machine and are called by their names there; each due time is taken once."""

    def schedules(self, machine: str) -> list[Schedule]:
        """Return the machine's schedules by name."""
        query = select(*SCHEDULES.c).where(SCHEDULES.c.machine == machine).order_by(SCHEDULES.c.name)
        with self._look() as connection:
            return [_schedule(row) for row in connection.execute(query)]

    def add_schedule(self, machine: str, schedule: Schedule) -> int:
        """Add a schedule and return its id.

        Raises:
            RefusedError: its name is taken.
        """
        with self._begin() as connection:
            if _find(connection, machine, schedule.name) is not None:
                words = f"there is a schedule {schedule.name!r} already"
                raise RefusedError(f"{words}: take another name, or remove it with `costctl schedule remove`")
            result: Any = connection.execute(insert(SCHEDULES).values(_values(schedule) | {"machine": machine}))
        return int(result.inserted_primary_key[0])

    def remove_schedule(self, machine: str, name: str) -> None:
        """Take a schedule away, with what is known of its runs. Raises LedgerError if there is none of that name."""
        with self._begin() as connection:
            schedule_id = _require(connection, machine, name)
            runs = select(SCHEDULE_RUNS.c.id).where(SCHEDULE_RUNS.c.schedule_id == schedule_id)
            theirs = BATCHES.c.schedule_run_id.in_(runs)  # or they would be another run's that gets the number some day
            connection.execute(update(BATCHES).where(theirs).values(schedule_run_id=None))
            connection.execute(delete(SCHEDULE_RUNS).where(SCHEDULE_RUNS.c.schedule_id == schedule_id))
            connection.execute(delete(SCHEDULES).where(SCHEDULES.c.id == schedule_id))

    def pause_schedule(self, machine: str, name: str) -> None:
        """Let a schedule rest. Raises LedgerError if there is none of that name."""
        self._change(machine, name, paused=True)

    def resume_schedule(self, machine: str, name: str, *, at: datetime) -> None:
        """Let a schedule go on; what was due before `at` is forgotten. Raises LedgerError if there is none."""
        self._change(machine, name, paused=False, since=at)

    def _change(self, machine: str, name: str, **values: Any) -> None:
        with self._begin() as connection:
            schedule_id = _require(connection, machine, name)
            connection.execute(update(SCHEDULES).where(SCHEDULES.c.id == schedule_id).values(values))

    def last_due(self, machine: str) -> dict[int, datetime]:
        """Return the last due time that was taken, by the id of its schedule."""
        due = SCHEDULE_RUNS.c.due_at
        newest = select(func.max(due, type_=due.type)).where(SCHEDULE_RUNS.c.schedule_id == SCHEDULES.c.id)
        # One look into the index for each: grouped, all runs of all years would be read.
        query = select(SCHEDULES.c.id, newest.scalar_subquery()).where(SCHEDULES.c.machine == machine)
        with self._look() as connection:
            return {row[0]: row[1] for row in connection.execute(query) if row[1] is not None}

    def begin_schedule_run(
        self,
        schedule_id: int,
        *,
        due_at: datetime,
        at: datetime,
        command: Sequence[str],
        session_id: int | None,
        log: str,
    ) -> int | None:
        """Take a due time to run it, and return the run's id; None if somebody has it already."""
        values = {"started_at": at, "alive_at": at, "command": list(command), "session_id": session_id, "log": log}
        return self._take(schedule_id, due_at, values | {"outcome": RunOutcome.RUNNING, "detail": ""})

    def pass_over_run(self, schedule_id: int, *, due_at: datetime, outcome: RunOutcome, detail: str) -> bool:
        """Record that a due time is not run, and why; return whether nobody had it already."""
        values = {"outcome": outcome, "detail": detail, "command": []}
        return self._take(schedule_id, due_at, values) is not None

    def _take(self, schedule_id: int, due_at: datetime, values: dict[str, Any]) -> int | None:
        taken = insert(SCHEDULE_RUNS).values(values | {"schedule_id": schedule_id, "due_at": due_at})
        try:
            with self._begin() as connection:
                result: Any = connection.execute(taken)
        except LedgerError as error:
            if isinstance(error.__cause__, IntegrityError):
                return None  # also if the schedule was removed in this moment
            raise
        return int(result.inserted_primary_key[0])

    def schedule_run_lives(self, run_id: int, *, at: datetime) -> None:
        """Record that a run went on at that time."""
        with self._begin() as connection:
            connection.execute(update(SCHEDULE_RUNS).where(SCHEDULE_RUNS.c.id == run_id).values(alive_at=at))

    def end_schedule_run(
        self, run_id: int, *, at: datetime | None, outcome: RunOutcome, exit_code: int | None, detail: str
    ) -> None:
        """Record how a run ended, if it was not yet; `at` is None if nobody knows when.

        Who thinks it lost may be wrong, as when a ledger was away for minutes: then who ran it has the last word.
        """
        values: dict[str, Any] = {"ended_at": at, "outcome": outcome, "exit_code": exit_code, "detail": detail}
        if outcome is RunOutcome.SKIPPED:
            values["started_at"] = None
        open_ = (RunOutcome.RUNNING,) if outcome is RunOutcome.LOST else (RunOutcome.RUNNING, RunOutcome.LOST)
        still = (SCHEDULE_RUNS.c.id == run_id, SCHEDULE_RUNS.c.outcome.in_(open_))
        with self._begin() as connection:
            connection.execute(update(SCHEDULE_RUNS).where(*still).values(values))

    def schedule_runs(
        self,
        machine: str,
        name: str | None = None,
        *,
        outcome: RunOutcome | None = None,
        last: int | None = None,
    ) -> list[ScheduleRun]:
        """Return what became of due times, newest first: of all the machine's schedules or one, all or one outcome."""
        query = select(*SCHEDULE_RUNS.c, SCHEDULES.c.name).join(SCHEDULES).where(SCHEDULES.c.machine == machine)
        if name is not None:
            query = query.where(SCHEDULES.c.name == name)
        if outcome is not None:
            query = query.where(SCHEDULE_RUNS.c.outcome == outcome)
        newest = query.order_by(SCHEDULE_RUNS.c.due_at.desc(), SCHEDULE_RUNS.c.id.desc()).limit(last)
        with self._look() as connection:
            return [_run(row) for row in connection.execute(newest)]


def _find(connection: Connection, machine: str, name: str) -> int | None:
    query = select(SCHEDULES.c.id).where(SCHEDULES.c.machine == machine, SCHEDULES.c.name == name)
    return connection.execute(query).scalar()


def _require(connection: Connection, machine: str, name: str) -> int:
    found = _find(connection, machine, name)
    if found is None:
        raise LedgerError(no_schedule(name))
    return found


def _values(schedule: Schedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "rule": str(schedule.rule),
        "zone": schedule.zone.key,
        "command": list(schedule.command),
        "folder": schedule.folder,
        "notify": list(schedule.notify),
        "grace_us": round(schedule.grace_s * _SECOND_US),
        "limit_us": round(schedule.limit_s * _SECOND_US),
        "since": schedule.since,
        "paused": schedule.paused,
    }


def _schedule(row: Any) -> Schedule:
    return Schedule(
        id=row.id,
        name=row.name,
        rule=parse_rule(row.rule),
        zone=_zone(row.zone, row.name),
        command=tuple(row.command),
        folder=row.folder,
        notify=tuple(row.notify),
        grace_s=row.grace_us / _SECOND_US,
        limit_s=row.limit_us / _SECOND_US,
        since=row.since,
        paused=row.paused,
    )


def _zone(key: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise LedgerError(
            f"the schedule {name!r} is in {key}, which this system does not know: install tzdata"
        ) from error


def _run(row: Any) -> ScheduleRun:
    return ScheduleRun(
        id=row.id,
        schedule_id=row.schedule_id,
        schedule=row.name,
        due_at=row.due_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        outcome=RunOutcome(row.outcome),
        exit_code=row.exit_code,
        detail=row.detail,
        command=tuple(row.command),
        session_id=row.session_id,
        log=row.log,
        alive_at=row.alive_at,
    )
