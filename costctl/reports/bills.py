"""One session's bill, every line explained, and the rules behind bills: as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costctl.domain.billing import apportion
from costctl.domain.durations import format_duration
from costctl.domain.money import format_amount
from costctl.domain.sessions import Phase
from costctl.reports.names import gpu_name
from costctl.reports.printing import print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from costctl.domain.billing import Bill, BillLine
    from costctl.domain.rules import BillingRule
    from costctl.domain.sessions import Session

BILL_SCHEMA = "costctl.bill/1"
RULES_SCHEMA = "costctl.billing-rules/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionBill:
    """A session with its bill."""

    session: Session
    bill: Bill

    @property
    def phases(self) -> Mapping[Phase, int]:
        """What of the bill falls to each phase; together with what falls to the time after the stop, all of it."""
        spans = self.session.phases
        edges = [span.started_at for span in spans] + [self.session.known_until]
        amounts = dict.fromkeys(Phase, 0)
        for span, micros in zip(spans, apportion(self.bill, edges), strict=True):
            amounts[span.phase] += micros
        return {phase: micros for phase, micros in amounts.items() if any(span.phase is phase for span in spans)}


def print_bill(found: SessionBill, console: Console, zone: ZoneInfo) -> None:
    """Print a bill for people."""
    session, bill = found.session, found.bill
    console.print(_headline(session, zone), style="bold")
    console.print(f"rule {bill.rule.name}: {bill.rule.words()}")
    console.print()
    print_table(
        console,
        ["from", "to", ">seconds", f">{bill.currency}", "why"],
        [_line(line, zone) for line in bill.lines],
        footer=["", "", f"{bill.billed.total_seconds():g}", format_amount(bill.total_micros), ""],
        wrap=True,
    )
    console.print()
    for sentence in _sentences(found):
        console.print(sentence)


def bill_json(found: SessionBill, zone: ZoneInfo) -> str:
    """Return a bill as an object; money is decimal text."""
    session, bill = found.session, found.bill
    return _dump(
        {
            "schema": BILL_SCHEMA,
            "session": session.id,
            "machine": session.instance.machine,
            "started_at": session.started_at.astimezone(zone).isoformat(),
            "ended_at": session.known_until.astimezone(zone).isoformat(),
            "open": session.ended_at is None,
            "stopped_until": bill.stopped_until.astimezone(zone).isoformat(),
            "rule": _rule(bill.rule),
            "currency": bill.currency,
            "lines": [_line_object(line, zone) for line in bill.lines],
            "total": format_amount(bill.total_micros),
            "billed_seconds": bill.billed.total_seconds(),
            "used": format_amount(bill.used_micros),
            "used_seconds": bill.used.total_seconds(),
            "beyond_use": format_amount(bill.total_micros - bill.used_micros),
            "phases": {phase: format_amount(micros) for phase, micros in found.phases.items()},
            "after_the_stop": format_amount(bill.stopped_micros),
        }
    )


def print_rules(rules: Iterable[BillingRule], console: Console) -> None:
    """Print rules in a line each."""
    rows = [[rule.name, rule.words() + (" (?)" if rule.evidence.doubt else "")] for rule in rules]
    print_table(console, ["rule", "how time becomes money"], rows, wrap=True)
    console.print("(?) something is uncertain: `costctl billing rules NAME` tells it, with the evidence.")


def print_rule(rule: BillingRule, console: Console) -> None:
    """Print one rule with its evidence."""
    evidence = rule.evidence
    console.print(f"{rule.name}: {evidence.title}" if evidence.title else rule.name, style="bold")
    facts = {
        "billed": rule.words(),
        "note": evidence.note,
        "stopped from inside": evidence.self_shutdown,
        "paid while stopped": evidence.storage_when_stopped,
        "applies to": _applies_to(rule),
        "evidence": "; ".join(evidence.sources),
        "uncertain": evidence.doubt,
        "set in": evidence.changed_at,
    }
    rows = [[name, text] for name, text in facts.items() if text]
    print_table(console, ["", ""], rows, wrap=True, header=False)


def rules_json(rules: Iterable[BillingRule]) -> str:
    """Return rules as an object, with their evidence."""
    return _dump({"schema": RULES_SCHEMA, "rules": [_rule(rule) for rule in rules]})


def _headline(session: Session, zone: ZoneInfo) -> str:
    begin, end = session.started_at.astimezone(zone), session.known_until.astimezone(zone)
    until = f"{end:%H:%M:%S}" if begin.date() == end.date() else f"{end:%Y-%m-%d %H:%M:%S}"
    still = ", still open" if session.ended_at is None else ""
    return f"session {session.id}: {gpu_name(session.instance)}, {begin:%Y-%m-%d %H:%M:%S} to {until}{still} ({zone})"


def _line(line: BillLine, zone: ZoneInfo) -> list[str]:
    begin, end = line.started_at.astimezone(zone), line.ended_at.astimezone(zone)
    return [
        f"{begin:%m-%d %H:%M:%S}",
        f"{end:%H:%M:%S}" if begin.date() == end.date() else f"{end:%m-%d %H:%M:%S}",
        f"{line.billed.total_seconds():g}",
        format_amount(line.amount_micros),
        line.why,
    ]


def _sentences(found: SessionBill) -> Iterator[str]:
    bill = found.bill
    used, total = format_amount(bill.used_micros), format_amount(bill.total_micros)
    yield f"used    {format_duration(bill.used.total_seconds())}, worth {used} {bill.currency} by the exact time"
    beyond = bill.total_micros - bill.used_micros
    yield f"billed  {total} {bill.currency}" + (f", {format_amount(beyond)} more than was used" if beyond > 0 else "")
    yield "phases  " + ", ".join(f"{phase} {format_amount(micros)}" for phase, micros in found.phases.items())
    if bill.stopped_micros:
        yield f"stopped {format_amount(bill.stopped_micros)}: after the machine was stopped, until it was released"
    elif bill.rule.bills_stopped:
        yield f"By {bill.rule.name} a machine that was shut down from inside is billed until released (--released)."
    if bill.rule.evidence.doubt:
        yield f"uncertain: {bill.rule.evidence.doubt}"


def _line_object(line: BillLine, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "from": line.started_at.astimezone(zone).isoformat(),
        "to": line.ended_at.astimezone(zone).isoformat(),
        "seconds": line.billed.total_seconds(),
        "amount": format_amount(line.amount_micros),
        "why": line.why,
    }


def _rule(rule: BillingRule) -> dict[str, Any]:
    evidence = rule.evidence
    return {
        "name": rule.name,
        "title": evidence.title,
        "words": rule.words(),
        "increment_s": rule.increment.total_seconds(),
        "minimum_s": rule.minimum.total_seconds(),
        "settles_in": str(rule.settles_in) if rule.settles_in else None,
        "prepaid": rule.is_prepaid,
        "quantum": format_amount(rule.rounding.quantum_micros),
        "round_up": rule.rounding.up,
        "minimum_charge": format_amount(rule.minimum_charge_micros),
        "bills_stopped": rule.bills_stopped,
        "providers": list(rule.providers),
        "markets": list(rule.markets),
        "note": evidence.note or None,
        "self_shutdown": evidence.self_shutdown or None,
        "storage_when_stopped": evidence.storage_when_stopped or None,
        "sources": list(evidence.sources),
        "doubt": evidence.doubt or None,
        "changed_at": evidence.changed_at or None,
    }


def _applies_to(rule: BillingRule) -> str:
    return ", ".join(rule.providers) + (f" ({', '.join(rule.markets)})" if rule.markets else "")


def _dump(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
