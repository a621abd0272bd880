"""The ledger beside an invoice, as tables for people and as JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from costctl.domain.durations import format_duration
from costctl.domain.money import format_amount
from costctl.domain.sessions import EndReason
from costctl.reports.printing import print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from costctl.domain.reconciliation import CurrencyDrift, Gap, InvoiceLine, Reconciliation, SessionDrift

SCHEMA = "costctl.reconciliation/1"
_SHOWN = 20


def print_reconciliation(
    found: Reconciliation, console: Console, *, title: str, zone: ZoneInfo, tolerance_percent: float
) -> None:
    """Print what both sides say, what only one knows, and whether they agree."""
    span = f"{_minute(found.started_at, zone)} to {_minute(found.ended_at, zone)} ({zone})"
    console.print(f"{title}, {span}", style="bold")
    console.print()
    if found.sessions:
        rows = [_row(row, zone, tolerance_percent) for row in found.sessions]
        print_table(console, ["session", "started", "ended", ">ledger", ">invoice", ">drift", ""], rows, wrap=True)
    else:
        console.print("the ledger has no session in this time")
    _print_lines("only the invoice knows", found.only_invoice, console, zone)
    _print_lines("not machines, so not compared", found.other, console, zone)
    _print_gaps(found.gaps, console, zone)
    console.print()
    for sentence in _sentences(found, tolerance_percent):
        console.print(sentence)


def reconciliation_json(found: Reconciliation, *, title: str, zone: ZoneInfo, tolerance_percent: float) -> str:
    """Return the same as an object; money is decimal text, null where the ledger knows no price."""
    document = {
        "schema": SCHEMA,
        "invoice": title,
        "time_zone": str(zone),
        "started_at": _iso(found.started_at, zone),
        "ended_at": _iso(found.ended_at, zone),
        "agrees": found.agrees(tolerance_percent),
        "tolerance_percent": tolerance_percent,
        "sessions": [_session_object(row, zone, tolerance_percent) for row in found.sessions],
        "only_invoice": [_line_object(line, zone) for line in found.only_invoice],
        "other": [_line_object(line, zone) for line in found.other],
        "gaps": [_gap_object(gap, zone) for gap in found.gaps],
        "totals": [_total_object(total) for total in found.totals],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _row(row: SessionDrift, zone: ZoneInfo, tolerance_percent: float) -> list[str]:
    session = row.session
    return [
        str(session.id),
        _minute(session.started_at, zone),
        _minute(session.known_until, zone) + ("" if session.ended_at else "+"),
        _amount(row.ledger_micros, row.currency),
        _amount(row.invoice_micros if row.line_count else None, row.currency, missing="nothing"),
        _drift(row),
        ", ".join(_remarks(row, tolerance_percent)),
    ]


def _remarks(row: SessionDrift, tolerance_percent: float) -> Iterator[str]:
    if row.ledger_micros is None:
        yield "price unknown"
    if not row.line_count:
        yield "only the ledger knows it"
    elif row.ledger_micros is not None and not row.agrees(tolerance_percent):
        yield "differs"
    if row.is_cut:
        yield "cut to the invoice"
    if row.session.end_reason is EndReason.LOST:
        yield "ended at its last heartbeat"


def _print_lines(heading: str, lines: Iterable[InvoiceLine], console: Console, zone: ZoneInfo) -> None:
    found = list(lines)
    if not found:
        return
    console.print()
    rows = [
        [
            str(line.number),
            _minute(line.started_at, zone),
            _minute(line.ended_at, zone),
            _amount(line.micros, line.currency),
            " ".join(filter(None, (line.resource, line.what))),
        ]
        for line in found[:_SHOWN]
    ]
    print_table(console, [">line", "from", "to", ">invoice", heading], rows, wrap=True)
    if len(found) > _SHOWN:
        console.print(f"and {len(found) - _SHOWN} more lines (all with --json)")


def _print_gaps(gaps: Iterable[Gap], console: Console, zone: ZoneInfo) -> None:
    rows = [
        [
            str(gap.session.id),
            _minute(gap.span.started_at, zone),
            _minute(gap.span.ended_at, zone),
            format_duration(gap.span.length.total_seconds()),
            _amount(gap.ledger_micros, gap.session.price.currency if gap.session.price else None),
        ]
        for gap in gaps
    ]
    if rows:
        console.print()
        print_table(console, ["session", "daemon down from", "to", ">length", ">ledger"], rows)


def _sentences(found: Reconciliation, tolerance_percent: float) -> Iterator[str]:
    for total in found.totals:
        invoice = total.matched_micros + total.unmatched_micros
        share = f" ({total.drift_micros / total.ledger_micros:+.1%})" if total.ledger_micros else ""
        yield (
            f"{total.currency}: ledger {format_amount(total.ledger_micros)}, invoice {format_amount(invoice)}, "
            f"drift {_signed(total.drift_micros)}{share}{_unpriced(found, total.currency)}"
        )
        if total.other_micros:
            yield f"{total.currency}: {format_amount(total.other_micros)} more on the invoice is not for machines"
    resources = {line.resource for line in found.only_invoice if line.resource}
    if resources:
        yield f"Only the invoice knows {', '.join(sorted(resources)[:3])}: --resource NAME compares one machine alone."
    verdict = "agree" if found.agrees(tolerance_percent) else "do not agree"
    yield f"Ledger and invoice {verdict} (to {tolerance_percent:g} %, or 0.01)."


def _unpriced(found: Reconciliation, currency: str) -> str:
    count = sum(row.currency == currency and row.ledger_micros is None for row in found.sessions)
    return f"; {count} session{'s' * (count != 1)} of unknown price" if count else ""


def _session_object(row: SessionDrift, zone: ZoneInfo, tolerance_percent: float) -> dict[str, Any]:
    session = row.session
    return {
        "id": session.id,
        "machine": session.instance.machine,
        "started_at": _iso(session.started_at, zone),
        "ended_at": _iso(session.known_until, zone),
        "open": session.ended_at is None,
        "end_reason": session.end_reason,
        "billing_rule": session.rule.name if session.rule else None,
        "currency": row.currency,
        "ledger": _text(row.ledger_micros),
        "invoice": _text(row.invoice_micros) if row.line_count else None,
        "drift": _text(row.drift_micros),
        "invoice_lines": row.line_count,
        "cut": row.is_cut,
        "agrees": row.agrees(tolerance_percent),
    }


def _line_object(line: InvoiceLine, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "line": line.number,
        "from": _iso(line.started_at, zone),
        "to": _iso(line.ended_at, zone),
        "amount": _text(line.micros),
        "currency": line.currency,
        "resource": line.resource or None,
        "what": line.what or None,
    }


def _gap_object(gap: Gap, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "session": gap.session.id,
        "from": _iso(gap.span.started_at, zone),
        "to": _iso(gap.span.ended_at, zone),
        "seconds": gap.span.length.total_seconds(),
        "ledger": _text(gap.ledger_micros),
        "currency": gap.session.price.currency if gap.session.price else None,
    }


def _total_object(total: CurrencyDrift) -> dict[str, Any]:
    return {
        "currency": total.currency,
        "ledger": _text(total.ledger_micros),
        "invoice": _text(total.matched_micros + total.unmatched_micros),
        "drift": _text(total.drift_micros),
        "only_invoice": _text(total.unmatched_micros),
        "other": _text(total.other_micros),
    }


def _drift(row: SessionDrift) -> str:
    if row.drift_micros is None:
        return "unknown"
    share = f" {row.drift_micros / row.ledger_micros:+.1%}" if row.ledger_micros else ""
    return _signed(row.drift_micros) + share


def _signed(micros: int) -> str:
    return f"{'+' if micros > 0 else ''}{format_amount(micros)}"


def _amount(micros: int | None, currency: str | None, missing: str = "unknown") -> str:
    return missing if micros is None else f"{format_amount(micros)} {currency or ''}".strip()


def _text(micros: int | None) -> str | None:
    return None if micros is None else format_amount(micros)


def _minute(instant: datetime, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M}"


def _iso(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).isoformat()
