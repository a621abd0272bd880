"""`costctl billing`: what a provider makes of a session, and by which rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from costctl.domain.sessions import Session

_SHOW_EPILOG = """\b
Examples:
  costctl billing show                            the newest session
  costctl billing show 12 --tz Asia/Shanghai
  costctl billing show 12 --rule aws-ec2-linux    what if AWS had billed it
  costctl billing show 12 --rule azure-vm --released 2026-01-31T08:00
"""
_RULES_EPILOG = """\b
Examples:
  costctl billing rules
  costctl billing rules azure-vm
  costctl billing rules --json
"""


@click.group(epilog="\b\nExamples:\n  costctl billing show 12 --rule aws-ec2-linux\n  costctl billing rules azure-vm")
def billing() -> None:
    """Explain bills: which charges a provider makes for a session, by which rule, and how sure that is.

    The rule of a session is `billing-rule` in costctl.toml (or COSTCTL_BILLING_RULE), else the one for its provider,
    else the exact time. A table [billing.NAME] changes a rule or makes a new one.
    """


@billing.command(epilog=_SHOW_EPILOG)
@click.argument("session_id", metavar="[SESSION]", type=int, required=False)
@click.option("--rule", metavar="NAME", help="Bill by this rule instead.")
@click.option("--price", metavar="'1.8 CNY/h'", help="Bill at this price instead.")
@click.option("--released", metavar="WHEN", help="When the provider released the stopped machine, where that matters.")
@click.option("--tz", "zone_name", metavar="ZONE", help="Time zone to show; else as configured, or this machine's.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(
    *,
    session_id: int | None,
    rule: str | None,
    price: str | None,
    released: str | None,
    zone_name: str | None,
    as_json: bool,
) -> None:
    """Show the bill of SESSION (a number from `costctl sessions --json`; the newest if left out), line by line."""
    from datetime import UTC, datetime  # commands import late, so that each starts fast

    from costctl.domain.money import parse_price
    from costctl.errors import BadValueError
    from costctl.reports import bills
    from costctl.reports.periods import parse_since
    from costctl.wiring import load_zone
    from costctl.wiring.billing import load_billing

    now = datetime.now(UTC)
    zone = load_zone(zone_name)
    released_at = parse_since(released, now=now, zone=zone) if released else None
    session = _session(session_id)
    at = parse_price(price, source="--price", dated=now) if price else session.price
    if at is None:
        raise BadValueError(f"the price of session {session.id} is unknown: give one with --price '1.8 CNY/h'")
    if released_at and (session.ended_at is None or released_at < session.ended_at):
        raise BadValueError(f"--released {released}: session {session.id} had not ended by then")
    bill = session.bill(at, load_billing(rule).rule_of(session), released_at)
    found = bills.SessionBill(session=session, bill=bill)
    if as_json:
        click.echo(bills.bill_json(found, zone), nl=False)
    else:
        from costctl.reports.printing import console_for

        bills.print_bill(found, console_for(), zone)


@billing.command(epilog=_RULES_EPILOG)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def rules(*, name: str | None, as_json: bool) -> None:
    """List the billing rules; of one, NAME, also where it comes from and what is uncertain."""
    from costctl.domain.rules import named_rule
    from costctl.reports import bills
    from costctl.wiring.billing import load_billing

    known = load_billing().rules
    chosen = [named_rule(name, known)] if name else list(known.values())
    if as_json:
        click.echo(bills.rules_json(chosen), nl=False)
        return
    from costctl.reports.printing import console_for

    if name:
        bills.print_rule(chosen[0], console_for())
    else:
        bills.print_rules(chosen, console_for())


def _session(session_id: int | None) -> Session:
    from costctl.errors import BadValueError
    from costctl.wiring import read_ledger

    with read_ledger() as ledger:
        newest = next(iter(ledger.sessions(last=1)), None)
        found = newest if session_id is None else ledger.find_session(session_id)
    if found is None:
        which = "no session yet" if newest is None else f"no session {session_id}"
        raise BadValueError(f"the ledger has {which}: `costctl sessions --json` lists them with their numbers")
    return found
