"""The commands of `costctl schedule` that change what is scheduled; a running daemon is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from costctl.errors import BadValueError, DaemonError, DaemonNotRunningError

if TYPE_CHECKING:
    from datetime import datetime

    from costctl.domain.schedules import Schedule


@click.command(
    epilog="""\b
Examples:
  costctl schedule add nightly --cron '0 2 * * *' --tz Asia/Shanghai -- batch jobs.jsonl -o out-{date}.jsonl
  costctl schedule add once --at 2026-12-01T02:00 -- report --month 2026-11 -o november.html

{date}, {time} and {name} in the command become the due time's (2026-12-01, 0200) and the schedule's name. The command
runs as if typed in this folder, so relative paths are of it. Of times that were missed the last runs once, if that is
within --grace; what is due while the last run goes on is skipped; `history` shows both. A local time that the clocks
skip is due where they skip it, one that they repeat is due once; --every counts real time, from now on. --then shutdown
is refused while a daemon runs whose --on-idle does not stop the machine.
"""
)
@click.argument("name")
@click.option("--cron", metavar="EXPRESSION", help="Minute, hour, day, month, weekday, as in a crontab; or @daily.")
@click.option("--every", metavar="DURATION", help="Again and again: 30m, 6h, 1d.")
@click.option("--at", "at", metavar="TIME", help="Once: 2026-12-01T02:00.")
@click.option("--tz", "zone_name", metavar="ZONE", help="Time zone; else as configured, or this machine's.")
@click.option(
    "--then",
    type=click.Choice(["shutdown", "unload", "nothing"]),
    help="What a batch does with the instance at its end (passed on to `costctl batch`).",
)
@click.option("--grace", default="1h", show_default=True, metavar="DURATION", help="How late it may still run.")
@click.option("--limit", default="24h", show_default=True, metavar="DURATION", help="End a run that takes longer.")
@click.option("--notify", multiple=True, metavar="TARGET", help="Tell this target of failures; else all are told.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
def add(
    *,
    name: str,
    cron: str | None,
    every: str | None,
    at: str | None,
    zone_name: str | None,
    then: str | None,
    grace: str,
    limit: str,
    notify: tuple[str, ...],
    command: tuple[str, ...],
) -> None:
    """Add a schedule; it works from now on, in this folder."""
    from datetime import UTC, datetime
    from pathlib import Path

    from costctl.cli.schedule_checks import demand_command, remarks_on
    from costctl.domain.durations import parse_duration
    from costctl.domain.schedules import Schedule, parse_rule
    from costctl.wiring import load_zone
    from costctl.wiring import schedules as wiring

    now = datetime.now(UTC)
    made = Schedule(
        name=name,
        rule=parse_rule(_rule(cron=cron, every=every, at=at)),
        zone=load_zone(zone_name),
        command=demand_command(command, then),
        folder=str(Path.cwd()),
        since=now,
        grace_s=parse_duration(grace),
        limit_s=parse_duration(limit),
        notify=notify,
    )
    remarks = list(remarks_on(made, _first_due(made, now)))
    wiring.check_targets(notify)
    with wiring.changing_schedules() as (ledger, machine):
        ledger.add_schedule(machine, made)
    click.echo(f"{name} runs {_when(made, now)}")
    for remark in remarks:
        click.echo(f"note: {remark}", err=True)
    _tell_daemon()


def _rule(**given: str | None) -> str:
    rules = [f"{kind} {value}" for kind, value in given.items() if value is not None]
    if len(rules) != 1:
        raise click.UsageError("say when with one of --cron, --every and --at")
    return rules[0]


def _first_due(made: Schedule, now: datetime) -> datetime:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(made.zone.key)
    except (ZoneInfoNotFoundError, ValueError):
        raise BadValueError("this machine's time zone has no name: say which with --tz") from None
    due_at = made.next_due(now)
    if due_at is None:
        raise BadValueError(f"{made.rule} in {made.zone.key} is in the past")
    return due_at


def _when(made: Schedule, now: datetime) -> str:
    due = made.next_due(now)
    if due is None:
        return f"{made.rule}, which has passed: never again"
    return f"{made.rule}, next {due.astimezone(made.zone):%Y-%m-%d %H:%M} {made.zone.key}"


def _tell_daemon(*, needed: bool = True) -> None:
    from costctl.cli.client import ask

    try:
        ask("POST", "/schedules/refresh")
    except DaemonNotRunningError:
        if needed:
            click.echo("no daemon runs: start one with `costctl serve`, or nothing will happen", err=True)
    except DaemonError as error:
        click.echo(f"{error}; it is recorded, and holds at the latest when the daemon starts again", err=True)


@click.command(epilog="\b\nExamples:\n  costctl schedule pause nightly")
@click.argument("name")
def pause(*, name: str) -> None:
    """Let a schedule rest; a run that goes on is not ended."""
    from costctl.wiring import schedules as wiring

    with wiring.changing_schedules() as (ledger, machine):
        ledger.pause_schedule(machine, name)
    click.echo(f"{name} rests until `costctl schedule resume {name}`")
    _tell_daemon(needed=False)


@click.command(epilog="\b\nExamples:\n  costctl schedule resume nightly")
@click.argument("name")
def resume(*, name: str) -> None:
    """Let a schedule go on; what was due meanwhile is forgotten."""
    from datetime import UTC, datetime

    from costctl.wiring import schedules as wiring

    now = datetime.now(UTC)
    with wiring.changing_schedules() as (ledger, machine):
        ledger.resume_schedule(machine, name, at=now)
    click.echo(f"{name} runs {_when(wiring.schedule_called(name), now)}")
    _tell_daemon()


@click.command(epilog="\b\nExamples:\n  costctl schedule remove nightly")
@click.argument("name")
def remove(*, name: str) -> None:
    """Remove a schedule with its history; a run that goes on is not ended, and what it costs stays in the ledger."""
    from costctl.domain.schedules import RunOutcome
    from costctl.wiring import schedules as wiring

    with wiring.changing_schedules() as (ledger, machine):
        running = ledger.schedule_runs(machine, name, outcome=RunOutcome.RUNNING)
        ledger.remove_schedule(machine, name)
    click.echo(f"removed {name}")
    for run in running:
        click.echo(f"a run goes on to its end; its output is in {run.log}", err=True)
    _tell_daemon(needed=False)
