"""Schedules and their runs as tables and as JSON."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from costctl.domain.durations import format_duration
from costctl.domain.money import format_amount
from costctl.reports.exact import instant, json_text, money, seconds
from costctl.reports.printing import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from costctl.domain.schedules import Schedule
    from costctl.ledger.values import Batch, ScheduleRun

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFigures:
    """A run with what its machine's sessions cost in its time, None if that is unknown, and the batches begun in it."""

    run: ScheduleRun
    cost_micros: int | None
    currency: str | None
    batches: tuple[Batch, ...]

    @property
    def length(self) -> timedelta | None:
        """How long it took."""
        run = self.run
        return run.ended_at - run.started_at if run.started_at and run.ended_at else None


def print_schedules(schedules: Sequence[Schedule], now: datetime, console: Console, zone: ZoneInfo) -> None:
    """Print schedules, what is due next first."""
    if not schedules:
        console.print("no schedules; `costctl schedule add --help` shows how to add one")
        return
    rows = [
        [one.name, f"{one.rule} ({one.zone.key})", _next(one, now, zone), shlex.join(one.command)]
        for one in sorted(schedules, key=lambda one: (_due(one, now) or _NEVER, one.name))
    ]
    print_table(console, ["name", "when", "next run", "<command"], rows)
    console.print(f"times in {zone}; schedules run only while `costctl serve` does")


def print_schedule(
    schedule: Schedule, last: Sequence[RunFigures], now: datetime, console: Console, zone: ZoneInfo
) -> None:
    """Print a schedule, and how its last run ended."""
    rows = [
        ["when", f"{schedule.rule} ({schedule.zone.key})"],
        ["next run", _next_in_words(schedule, now, zone)],
        ["command", f"costctl {shlex.join(schedule.command)}"],
        ["in", schedule.folder],
        ["if late", f"up to {format_duration(schedule.grace_s)} late it runs once, then it is recorded as missed"],
        ["if long", f"it is ended after {format_duration(schedule.limit_s)}"],
        ["if it fails", f"tells {', '.join(schedule.notify) or 'all targets of costctl.toml'}"],
    ]
    for figures in last:
        run = figures.run
        rows += [["last run", " ".join(filter(None, [_local(run.due_at, zone), _end(run), _cost(figures)]))]]
        rows += [["log", run.log]] if run.log else []
        rows += [["", line] for line in run.detail.splitlines()]
    print_table(console, ["", "<"], rows, header=False)


def print_history(history: Sequence[RunFigures], console: Console, zone: ZoneInfo) -> None:
    """Print runs in the order that they have, and why some did not go well."""
    if not history:
        console.print("nothing was due yet; `costctl schedule list` shows what is next")
        return
    rows = [
        [
            figures.run.schedule,
            _local(figures.run.due_at, zone),
            _end(figures.run),
            "" if figures.length is None else format_duration(figures.length.total_seconds()),
            _cost(figures),
            figures.run.detail.splitlines()[-1] if figures.run.detail else "",
        ]
        for figures in history
    ]
    print_table(console, ["schedule", "due", "end", ">took", ">cost", "<last words"], rows)
    console.print(f"times in {zone}")


def schedules_json(schedules: Sequence[Schedule], now: datetime) -> str:
    """Return schedules as a JSON list."""
    return json_text([_schedule(one, now) for one in schedules])


def schedule_json(schedule: Schedule, last: Sequence[RunFigures], now: datetime) -> str:
    """Return a schedule as a JSON object, with its last run."""
    return json_text(_schedule(schedule, now) | {"last_run": _run(last[0]) if last else None})


def history_json(history: Sequence[RunFigures]) -> str:
    """Return runs as a JSON list."""
    return json_text([_run(figures) for figures in history])


def _due(schedule: Schedule, now: datetime) -> datetime | None:
    return None if schedule.paused else schedule.next_due(now)


def _next(schedule: Schedule, now: datetime, zone: ZoneInfo) -> str:
    if schedule.paused:
        return "paused"
    due = schedule.next_due(now)
    return "never again" if due is None else _local(due, zone)


def _next_in_words(schedule: Schedule, now: datetime, zone: ZoneInfo) -> str:
    due = _due(schedule, now)
    if due is None:
        return _next(schedule, now, zone)
    return f"{_local(due, zone)} {zone}, in {format_duration((due - now).total_seconds())}"


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def _end(run: ScheduleRun) -> str:
    return f"{run.outcome} ({run.exit_code})" if run.exit_code else str(run.outcome)


def _cost(figures: RunFigures) -> str:
    if figures.cost_micros is None:
        return "" if figures.length is None else "unknown"
    return f"{format_amount(figures.cost_micros, decimals=4)} {figures.currency}"


def _schedule(schedule: Schedule, now: datetime) -> dict[str, Any]:
    due = _due(schedule, now)
    return {
        "name": schedule.name,
        "when": str(schedule.rule),
        "zone": schedule.zone.key,
        "next_run_at": None if due is None else instant(due, schedule.zone),
        "paused": schedule.paused,
        "command": list(schedule.command),
        "folder": schedule.folder,
        "grace_seconds": schedule.grace_s,
        "limit_seconds": schedule.limit_s,
        "notify": list(schedule.notify),
    }


def _run(figures: RunFigures) -> dict[str, Any]:
    run = figures.run
    return {
        "schedule": run.schedule,
        "due_at": instant(run.due_at),
        "started_at": instant(run.started_at) if run.started_at else None,
        "ended_at": instant(run.ended_at) if run.ended_at else None,
        "seconds": seconds(figures.length),
        "outcome": run.outcome,
        "exit_code": run.exit_code,
        "detail": run.detail,
        "command": list(run.command),
        "session": run.session_id,
        "batches": [batch.id for batch in figures.batches],
        "cost": money(figures.cost_micros),
        "currency": figures.currency,
        "log": run.log,
    }
