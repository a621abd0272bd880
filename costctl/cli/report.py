"""`costctl report`: what a month cost, and what its hours were."""

from __future__ import annotations

import click

_EPILOG = """\b
Examples:
  costctl report                        the month so far
  costctl report --month 2026-01        January
  costctl report --month 2026-01 --tz Asia/Shanghai --csv > january.csv
  costctl report --json | jq .totals
"""


@click.command(epilog=_EPILOG)
@click.option("--month", metavar="YYYY-MM", help="The month; the present one if left out.")
@click.option("--tz", "zone_name", metavar="ZONE", help="Time zone of the month's days; this machine's if left out.")
@click.option("--json", "form", flag_value="json", help="Print a JSON object.")
@click.option("--csv", "form", flag_value="csv", help="Print a row per session with all figures.")
def report(month: str | None, zone_name: str | None, form: str | None) -> None:
    """Print the sessions of a month with what each cost, and how the money went by phase.

    A session that spans the edge of the month counts with the part that is in it. The price is the one that each
    session began with; where none was known, the time is counted and the cost is said to be unknown. Seconds become
    money by the billing rule of the provider (`costctl billing rules`); standing charges have lines of their own.
    """
    from datetime import UTC, datetime  # commands import late, so that each starts fast

    from costctl.reports import documents, figures, zones
    from costctl.wiring import read_ledger
    from costctl.wiring.billing import load_billing

    zone = zones.named_zone(zone_name) if zone_name else zones.system_zone()
    now = datetime.now(UTC)
    month = month or f"{now.astimezone(zone):%Y-%m}"
    begin, end = figures.month_bounds(month, zone)
    with read_ledger() as ledger:
        billing = load_billing()
        sessions = map(billing.apply, ledger.sessions(since=begin, until=end))
        found = figures.month_report(sessions, month=month, zone=zone, standing=billing.standing, until=now)
        newest = next(iter(ledger.sessions(last=1)), None)
    if form == "json":
        click.echo(documents.month_json(found), nl=False)
    elif form == "csv":
        click.echo(documents.month_csv(found), nl=False)
    else:
        from costctl.reports import text
        from costctl.reports.printing import console_for

        text.print_month(found, console_for(), newest=newest)
