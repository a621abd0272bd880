"""`costctl reconcile`: the ledger beside a provider's invoice."""

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Examples:
  costctl reconcile cur-2026-01.csv --resource i-0abc
  costctl reconcile costs.csv                   from AWS Cost Explorer, by day
  costctl reconcile runpod.csv --rule runpod-pod
  costctl reconcile charges.csv --tz Asia/Shanghai --json

A plain file has the columns start,end,amount,currency (and resource, if there are several machines).
Exit code 0: both sides agree. 1: they do not: a session differs, or only one side knows something.
"""


@click.command(epilog=_EPILOG)
@click.argument("invoice", type=click.Path(path_type=Path))
@click.option("--resource", metavar="NAME", help="Only the invoice's lines for this machine, as the provider calls it.")
@click.option("--rule", metavar="NAME", help="Bill the ledger's sessions by this rule.")
@click.option("--bucket", type=click.Choice(["hour", "day", "month"]), help="How long a date of the invoice lasts.")
@click.option(
    "--tolerance", type=click.FloatRange(0, 100), default=1.0, show_default=True, help="Per cent that do not matter."
)
@click.option("--tz", "zone_name", metavar="ZONE", help="Zone to show, and of times without one; else as configured.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_context
def reconcile(
    ctx: click.Context,
    *,
    invoice: Path,
    resource: str | None,
    rule: str | None,
    bucket: str | None,
    tolerance: float,
    zone_name: str | None,
    as_json: bool,
) -> None:
    """Compare the ledger with INVOICE: an AWS CUR or Cost Explorer CSV, RunPod's billing export, or a plain file.

    Each session stands beside what the invoice says for its time; then what only one side knows, the gaps when the
    daemon was down, and the drift in all. Currencies are never added. The ledger's side is what the billing rule makes
    of each session, so the drift is what the rule does not explain.
    """
    from costctl.domain.reconciliation import reconcile as compare
    from costctl.reports import reconciliations
    from costctl.wiring import load_zone, read_ledger
    from costctl.wiring.billing import load_billing, load_invoice

    zone = load_zone(zone_name)
    found = load_invoice(invoice, zone=zone, bucket=bucket, resource=resource)
    billing = load_billing(rule)
    begin = min(line.started_at for line in found.lines)
    end = max(line.ended_at for line in found.lines)
    with read_ledger() as ledger:
        sessions = [billing.apply(session) for session in ledger.sessions(since=begin, until=end)]
    compared = compare(sessions, found.lines)
    title = f"{invoice.name}: {found.title}"
    if as_json:
        click.echo(
            reconciliations.reconciliation_json(compared, title=title, zone=zone, tolerance_percent=tolerance), nl=False
        )
    else:
        from costctl.reports.printing import console_for

        console = console_for()
        reconciliations.print_reconciliation(compared, console, title=title, zone=zone, tolerance_percent=tolerance)
    if not compared.agrees(tolerance):
        ctx.exit(1)
