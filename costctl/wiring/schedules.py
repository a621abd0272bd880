"""The schedules of this machine, for the commands that show, change and run them."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from costctl.adapters.clock import SystemClock
from costctl.adapters.commands import CostctlCommands
from costctl.config.home import find_home
from costctl.config.notifications import choose_targets, read_targets
from costctl.daemon.schedule_runner import ScheduleRunner
from costctl.domain.schedule_exports import crontab, systemd_units
from costctl.domain.schedules import no_schedule
from costctl.errors import CostctlError, LedgerMissingError, LedgerOlderError
from costctl.reports.schedules import RunFigures
from costctl.wiring import load_settings, read_ledger
from costctl.wiring.billing import load_billing
from costctl.wiring.prices import writable_ledger
from costctl.wiring.scheduler import machine_of, tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costctl.domain.schedules import RunOutcome, Schedule
    from costctl.domain.sessions import Session
    from costctl.ledger.store import Ledger
    from costctl.ledger.values import ScheduleRun

_PROGRAM = (sys.executable, "-m", "costctl")


def check_targets(names: Sequence[str]) -> None:
    """Refuse names of targets that are not configured. Raises BadValueError."""
    if names:
        choose_targets(read_targets(load_settings({}).file), names)


@contextmanager
def changing_schedules() -> Iterator[tuple[Ledger, str]]:
    """Give the ledger, to write, and this machine's name. Raises CostctlError."""
    with writable_ledger(load_settings({}).settings) as ledger:
        yield ledger, machine_of(find_home(os.environ))


@contextmanager
def reading_schedules() -> Iterator[tuple[Ledger, str] | None]:
    """Give the ledger, to read, and this machine's name; None if nothing was ever scheduled. Raises CostctlError."""
    home = find_home(os.environ)
    try:
        ledger = read_ledger()
    except (LedgerMissingError, LedgerOlderError):
        yield None
        return
    with ledger:
        yield (ledger, machine_of(home)) if home.identity.exists() else None


def all_schedules() -> list[Schedule]:
    """Return this machine's schedules. Raises CostctlError."""
    with reading_schedules() as found:
        return found[0].schedules(found[1]) if found else []


def schedule_called(name: str) -> Schedule:
    """Return this machine's schedule of that name. Raises CostctlError."""
    for schedule in all_schedules():
        if schedule.name == name:
            return schedule
    raise CostctlError(no_schedule(name))


def run_here(schedule: Schedule) -> tuple[RunOutcome | None, ScheduleRun]:
    """Run `schedule` now, without a daemon, and return what became of it. Raises CostctlError."""
    home = find_home(os.environ)
    with changing_schedules() as (ledger, machine):
        runner = ScheduleRunner(
            ledger=ledger,
            commands=CostctlCommands(home.schedules),
            clock=SystemClock(),
            submit=lambda verb: verb(ledger),
            tell=tell,
            session_id=lambda: None,
        )
        outcome = asyncio.run(runner.run(schedule, datetime.now(UTC)))
        return outcome, ledger.schedule_runs(machine, schedule.name, last=1)[0]


def history(name: str | None, *, last: int) -> list[RunFigures]:
    """Return the newest runs of one of this machine's schedules, or of all, newest first. Raises CostctlError."""
    if name is not None:
        schedule_called(name)
    with reading_schedules() as found:
        if found is None:
            return []
        ledger, machine = found
        apply = load_billing().apply
        runs = ledger.schedule_runs(machine, name, last=last)
        starts = [run.started_at for run in runs if run.started_at]
        sessions = [
            apply(one)
            for one in (ledger.sessions(since=min(starts)) if starts else ())
            if one.instance.machine == machine
        ]
        return [_figures(ledger, run, sessions) for run in runs]


def _figures(ledger: Ledger, run: ScheduleRun, sessions: Sequence[Session]) -> RunFigures:
    began, ended = run.started_at, run.ended_at
    if began is None or ended is None:
        return RunFigures(run=run, cost_micros=None, currency=None, batches=())
    during = [one for one in sessions if one.started_at < ended and one.known_until > began]
    costs = [one.cost(max(began, one.started_at), ended) for one in during]

    def complete(session: Session) -> bool:
        return session.ended_at is not None or session.known_until >= ended

    known = [cost for cost in costs if cost is not None]
    currencies = {one.price.currency for one in during if one.price}
    priced = len(currencies) == 1 and len(known) == len(during) and all(map(complete, during))
    return RunFigures(
        run=run,
        cost_micros=sum(known) if priced else None,
        currency=currencies.pop() if priced else None,
        batches=tuple(batch for one in during for batch in ledger.batches(one.id) if began <= batch.started_at < ended),
    )


def as_crontab(schedules: Sequence[Schedule]) -> str:
    """Return schedules as lines of a crontab of this machine. Raises BadValueError."""
    from costctl.config.zones import system_zone

    return crontab(schedules, program=_PROGRAM, environment=_environment(), system_zone=system_zone({}).key)


def as_units(schedules: Sequence[Schedule]) -> dict[str, str]:
    """Return schedules as units of systemd, by the names of their files."""
    environment = _environment()
    return {
        name: text
        for one in schedules
        for name, text in systemd_units(one, program=_PROGRAM, environment=environment).items()
    }


def write_unit(path: Path, text: str) -> None:
    """Write a unit's file. Raises CostctlError."""
    from costctl.adapters.files import replace_file

    replace_file(path, text.encode())


def _environment() -> dict[str, str]:
    """Return what a command needs to find the same home and settings as this one."""
    home = {"COSTCTL_HOME": str(find_home(os.environ).folder)}
    config = os.environ.get("COSTCTL_CONFIG")
    return home | ({"COSTCTL_CONFIG": str(Path(config).absolute())} if config else {})
