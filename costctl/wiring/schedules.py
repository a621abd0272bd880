"""The schedules of this machine, for the commands that show, change and run them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from costctl.adapters.clock import SystemClock
from costctl.config.home import find_home
from costctl.config.notifications import choose_targets, read_targets
from costctl.daemon.schedule_runner import ScheduleRunner
from costctl.domain.schedule_exports import crontab, systemd_units
from costctl.domain.schedules import no_schedule
from costctl.errors import CostctlError, LedgerMissingError, LedgerOlderError
from costctl.wiring import load_settings, read_ledger
from costctl.wiring.prices import writable_ledger
from costctl.wiring.scheduler import commands_in, environment_of, machine_of, tell

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path

    from costctl.domain.schedules import RunOutcome, Schedule
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
            commands=commands_in(home),
            clock=SystemClock(),
            submit=lambda verb: verb(ledger),
            tell=tell,
            session_id=lambda: None,
        )
        runner.started_by_others(machine)
        outcome = asyncio.run(_interruptible(runner.run(schedule, datetime.now(UTC))))
        return outcome, ledger.schedule_runs(machine, schedule.name, last=1)[0]


async def _interruptible(running: Coroutine[Any, Any, RunOutcome | None]) -> RunOutcome | None:
    """Have SIGTERM, as from systemd, do what Ctrl-C does: the run is ended and recorded."""
    task = asyncio.ensure_future(running)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def as_crontab(schedules: Sequence[Schedule]) -> str:
    """Return schedules as lines of a crontab of this machine. Raises BadValueError."""
    from costctl.config.zones import system_zone

    return crontab(
        schedules, program=_PROGRAM, environment=environment_of(find_home(os.environ)), system_zone=system_zone({}).key
    )


def as_units(schedules: Sequence[Schedule]) -> dict[str, str]:
    """Return schedules as units of systemd, by the names of their files."""
    environment = environment_of(find_home(os.environ))
    return {
        name: text
        for one in schedules
        for name, text in systemd_units(one, program=_PROGRAM, environment=environment).items()
    }


def write_unit(path: Path, text: str) -> None:
    """Write a unit's file. Raises CostctlError."""
    from costctl.adapters.files import replace_file

    replace_file(path, text.encode())


def left_out_of_exports() -> list[str]:
    """Return the variables that are set here and that no entry gets: they may be secrets."""
    return sorted(
        name for name in os.environ if name.startswith("COSTCTL_") and name not in environment_of(find_home(os.environ))
    )
