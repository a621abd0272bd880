"""`costctl sessions`: the billed power-ons that the ledger knows."""

from __future__ import annotations

import click

_EPILOG = """\b
Examples:
  costctl sessions                      the newest sessions
  costctl sessions --since 7d           those of the last week
  costctl sessions --since 2026-01-15 --json
"""


@click.command(epilog=_EPILOG)
@click.option("--since", metavar="WHEN", help="Only sessions up since a date (2026-01-31) or for a duration (7d).")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many, the newest ones."
)
@click.option("--tz", "zone_name", metavar="ZONE", help="Time zone to show; else as configured, or this machine's.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, with the phases of each session.")
def sessions(*, since: str | None, limit: int, zone_name: str | None, as_json: bool) -> None:
    """List sessions, oldest first: when this machine was billed, at what price, what it cost and why it ended."""
    from datetime import UTC, datetime  # commands import late, so that each starts fast

    from costctl.reports.periods import parse_since
    from costctl.wiring import load_zone, read_ledger
    from costctl.wiring.billing import load_billing

    zone = load_zone(zone_name)
    begin = parse_since(since, now=datetime.now(UTC), zone=zone) if since else None
    with read_ledger() as ledger:
        found = list(map(load_billing().apply, ledger.sessions(since=begin, last=limit + 1)))
    if len(found) > limit:
        click.echo(f"the newest {limit} are shown; more with --limit", err=True)
    found = found[-limit:]
    if as_json:
        from costctl.reports.sessions_json import sessions_json

        click.echo(sessions_json(found), nl=False)
    else:
        from costctl.reports import session_list
        from costctl.reports.printing import console_for

        session_list.print_sessions(found, console_for(), zone)
