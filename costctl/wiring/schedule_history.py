"""What became of this machine's schedules, and what each run cost."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from costctl.config.home import find_home
from costctl.domain.schedules import RunOutcome, outcome_of, seems_dead
from costctl.reports.schedules import RunFigures
from costctl.wiring.billing import load_billing
from costctl.wiring.scheduler import commands_in
from costctl.wiring.schedules import reading_schedules, schedule_called

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costctl.domain.sessions import Session
    from costctl.ledger.store import Ledger
    from costctl.ledger.values import Batch, ScheduleRun


class _Stretch(NamedTuple):
    """A part of a session that a run pays for; `until` is None if nobody knows when it ended."""

    session: Session
    since: datetime
    until: datetime | None


def read_history(name: str | None, *, last: int) -> list[RunFigures]:
    """Return the newest runs of one of this machine's schedules, or of all, newest first. Raises CostctlError."""
    if name is not None:
        schedule_called(name)
    with reading_schedules() as found:
        if found is None:
            return []
        ledger, machine = found
        runs = [_as_it_is(run) for run in ledger.schedule_runs(machine, name, last=last)]
        batches: dict[int | None, list[Batch]] = defaultdict(list)
        for batch in ledger.batches_of_runs([run.id for run in runs]):
            batches[batch.schedule_run_id].append(batch)
        sessions = _sessions(ledger, machine, runs)
        return [_figures(run, batches[run.id], sessions) for run in runs]


def _as_it_is(run: ScheduleRun) -> ScheduleRun:
    """Return `run`; one that nobody runs any more, and that no daemon has looked after yet, as it ended."""
    if run.outcome is not RunOutcome.RUNNING or not seems_dead(run.alive_at, datetime.now(UTC)):
        return run
    commands = commands_in(find_home(os.environ))
    if commands.runs(run.schedule) or run.log is None:
        return run
    code = commands.exit_code_of(Path(run.log))
    return replace(run, outcome=outcome_of(code), exit_code=code)


def _sessions(ledger: Ledger, machine: str, runs: Sequence[ScheduleRun]) -> list[Session]:
    """Return the machine's sessions since the first of `runs` was started."""
    starts = [run.started_at for run in runs if run.started_at]
    apply = load_billing().apply
    found = ledger.sessions(since=min(starts)) if starts else ()
    return [apply(one) for one in found if one.instance.machine == machine]


def _figures(run: ScheduleRun, batches: Sequence[Batch], sessions: Sequence[Session]) -> RunFigures:
    stretches = list(_of_batches(run, batches, sessions) if batches else _of_run(run, sessions))
    costs = [_cost(stretch) for stretch in stretches]
    known = [cost for cost in costs if cost is not None]
    currencies = {stretch.session.price.currency for stretch in stretches if stretch.session.price}
    is_known = len(known) == len(stretches) and len(currencies) == 1
    return RunFigures(
        run=run,
        cost_micros=sum(known) if is_known else None,
        currency=currencies.pop() if is_known else None,
        batches=tuple(batches),
    )


def _of_batches(run: ScheduleRun, batches: Sequence[Batch], sessions: Sequence[Session]) -> Iterator[_Stretch]:
    """Yield when the run's batches were worked on; one that its daemon did not end went on to the next at most."""
    by_id = {session.id: session for session in sessions}
    later = [*(batch.started_at for batch in batches[1:]), run.ended_at]
    for batch, next_at in zip(batches, later, strict=True):
        if batch.session_id in by_id:
            yield _Stretch(by_id[batch.session_id], batch.started_at, batch.ended_at or next_at)


def _of_run(run: ScheduleRun, sessions: Sequence[Session]) -> Iterator[_Stretch]:
    """Yield the sessions in a run without batches, which has the machine to itself as far as anybody knows."""
    began, ended = run.started_at, run.ended_at
    if began is None or ended is None:
        return
    for session in sessions:
        if session.started_at < ended and session.known_until > began:
            yield _Stretch(session, max(began, session.started_at), ended)


def _cost(stretch: _Stretch) -> int | None:
    session, since, until = stretch
    if until is None or (session.ended_at is None and session.known_until < until):
        return None
    return session.cost(since, max(since, until))  # runs go by the wall clock, batches by the ledger's
