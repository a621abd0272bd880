"""`costctl schedule`: run a command of costctl at its times. Changes are in `schedule_change.py`."""

from __future__ import annotations

import sys

import click

from costctl.cli.schedule_change import add, pause, remove, resume
from costctl.errors import BadValueError

_EPILOG = """\b
Examples:
  costctl schedule add nightly --cron '0 2 * * *' --then shutdown -- batch jobs.jsonl -o out-{date}.jsonl
  costctl schedule add prices --every 12h -- prices refresh
  costctl schedule list
  costctl schedule history nightly

Schedules run in the daemon (`costctl serve`): while none runs, or the machine is off, nothing runs, and a daemon that
is stopped ends what it runs. What was missed runs once when the daemon is back, if that is within --grace. To start a
machine that is off, another one has to be awake: see examples/ for cron, systemd and a cloud's command line.
"""


@click.group(epilog=_EPILOG)
def schedule() -> None:
    """Run a command of costctl every night, or whenever you say."""


@schedule.command("list", epilog="\b\nExamples:\n  costctl schedule list\n  costctl schedule list --json")
@click.option("--tz", "zone_name", metavar="ZONE", help="Time zone to show; else as configured, or this machine's.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_(*, zone_name: str | None, as_json: bool) -> None:
    """List the schedules of this machine, what is due next first."""
    from datetime import UTC, datetime

    from costctl.reports import schedules as forms
    from costctl.reports.printing import console_for
    from costctl.wiring import load_zone
    from costctl.wiring import schedules as wiring

    found, now = wiring.all_schedules(), datetime.now(UTC)
    if as_json:
        click.echo(forms.schedules_json(found, now), nl=False)
    else:
        forms.print_schedules(found, now, console_for(), load_zone(zone_name))


@schedule.command(epilog="\b\nExamples:\n  costctl schedule show nightly")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(*, name: str, as_json: bool) -> None:
    """Show a schedule, and how its last run ended."""
    from datetime import UTC, datetime

    from costctl.reports import schedules as forms
    from costctl.reports.printing import console_for
    from costctl.wiring import load_zone
    from costctl.wiring import schedules as wiring
    from costctl.wiring.schedule_history import read_history

    found, now = wiring.schedule_called(name), datetime.now(UTC)
    last = read_history(name, last=1)
    if as_json:
        click.echo(forms.schedule_json(found, last, now), nl=False)
    else:
        forms.print_schedule(found, last, now, console_for(), load_zone())


@schedule.command(
    epilog="\b\nExamples:\n  costctl schedule history\n  costctl schedule history nightly --limit 5 --json"
)
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=30, show_default=True, help="At most so many.")
@click.option("--tz", "zone_name", metavar="ZONE", help="Time zone to show; else as configured, or this machine's.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def history(*, name: str | None, limit: int, zone_name: str | None, as_json: bool) -> None:
    """Show what became of due times, newest first, and what each run cost.

    That of a batch is the machine's while the batch was worked on; of another command it is the machine's meanwhile.
    """
    from costctl.reports import schedules as forms
    from costctl.reports.printing import console_for
    from costctl.wiring import load_zone
    from costctl.wiring.schedule_history import read_history

    found = read_history(name, last=limit)
    if as_json:
        click.echo(forms.history_json(found), nl=False)
    else:
        forms.print_history(found, console_for(), load_zone(zone_name))


@schedule.command(epilog="\b\nExamples:\n  costctl schedule run nightly; echo $?")
@click.argument("name")
def run(*, name: str) -> None:
    """Run a schedule's command now and wait for its end, with or without a daemon; a paused one too.

    It ends with the command's exit code, or 5 if a run still goes on.
    """
    from costctl.domain.schedules import RunOutcome
    from costctl.wiring import schedules as wiring

    outcome, recorded = wiring.run_here(wiring.schedule_called(name))
    click.echo(f"{name}: {recorded.outcome}; output in {recorded.log}", err=True)
    if recorded.detail:
        click.echo(recorded.detail, err=True)
    if outcome is RunOutcome.SKIPPED:
        sys.exit(5)
    if outcome is not RunOutcome.SUCCEEDED:
        sys.exit(recorded.exit_code if recorded.exit_code and recorded.exit_code > 0 else 1)


@schedule.command(
    epilog="""\b
Examples:
  costctl schedule export nightly --crontab | crontab -           # replaces the crontab
  costctl schedule export nightly --systemd --output ~/.config/systemd/user
  systemctl --user enable --now costctl-nightly.timer

The entries run `costctl schedule run NAME`, which needs no daemon, so pause what you export.
"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--crontab", "form", flag_value="crontab", help="Lines for a crontab.")
@click.option("--systemd", "form", flag_value="systemd", help="A service and a timer for each.")
@click.option("--output", "-o", type=click.Path(file_okay=False), help="Write the units into this folder.")
def export(*, names: tuple[str, ...], form: str | None, output: str | None) -> None:
    """Print schedules (all, if none is named) as entries for cron or systemd."""
    from pathlib import Path

    from costctl.wiring import schedules as wiring

    if form is None or (output and form == "crontab"):
        raise click.UsageError("say --crontab, or --systemd, which may have an --output")
    chosen = [wiring.schedule_called(name) for name in names] or wiring.all_schedules()
    if not chosen:
        raise BadValueError("there is no schedule to export; add one with `costctl schedule add`")
    awake = [one.name for one in chosen if not one.paused]
    if awake:
        click.echo(f"{', '.join(awake)}: the daemon runs it too, unless you `costctl schedule pause` it", err=True)
    left_out = wiring.left_out_of_exports()
    if left_out:
        click.echo(f"set here, but not in the entries: {', '.join(left_out)}; costctl.toml is for that", err=True)
    if form == "crontab":
        text = wiring.as_crontab(chosen)
        if "CRON_TZ=" in text:
            click.echo("Debian's cron would take another zone's times for its own: use --systemd there", err=True)
        click.echo(text, nl=False)
        return
    for name, text in wiring.as_units(chosen).items():
        if output:
            wiring.write_unit(Path(output) / name, text)
        else:
            click.echo(f"# {name}\n{text}")


for _command in (add, pause, resume, remove):
    schedule.add_command(_command)
