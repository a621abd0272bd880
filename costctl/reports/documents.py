"""Sessions and months as JSON and CSV: for programs, so exact. Money is decimal text, instants are ISO 8601."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

from costctl.domain.csv_cells import csv_text
from costctl.domain.money import format_amount
from costctl.domain.sessions import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    from costctl.domain.money import Price
    from costctl.domain.sessions import Costing, PhaseSpan, Session
    from costctl.reports.figures import CurrencyTotal, MonthReport, PhaseFigure, SessionFigure, StandingFigure

SCHEMA = "costctl.report/1"


def sessions_json(sessions: Iterable[Session]) -> str:
    """Return sessions as a list of objects, instants in UTC."""
    return _dump([_session(session) for session in sessions])


def month_json(report: MonthReport) -> str:
    """Return a month as an object, instants in its time zone."""
    return _dump(
        {
            "schema": SCHEMA,
            "month": report.month,
            "time_zone": str(report.zone),
            "started_at": _instant(report.started_at, report.zone),
            "ended_at": _instant(report.ended_at, report.zone),
            "sessions": [_row(row, report.zone) for row in report.rows],
            "standing": [_standing(figure) for figure in report.standing],
            "totals": _totals(report),
        }
    )


def month_csv(report: MonthReport) -> str:
    """Return a month as a table of its sessions, with a column each for the seconds and the cost of every phase."""
    return csv_text(_csv_columns(), (_csv_row(row, report.zone) for row in report.rows))


def _dump(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _session(session: Session) -> dict[str, Any]:
    cost = session.costing()
    return {
        "id": session.id,
        "machine": session.instance.machine,
        "started_at": _instant(session.started_at),
        "ended_at": _instant(session.ended_at) if session.ended_at else None,
        "known_until": _instant(session.known_until),
        "open": session.ended_at is None,
        "end_reason": session.end_reason,
        "minutes": _minutes(session.length),
        "gpu": session.instance.gpu,
        "gpu_count": session.instance.gpu_count,
        **_price(session.price),
        "cost": _money(cost(None, None)),
        "billing_rule": session.rule.name if session.rule else None,
        "phases": [_span(cost, span) for span in session.phases],
    }


def _span(cost: Costing, span: PhaseSpan) -> dict[str, Any]:
    return {
        "phase": span.phase,
        "started_at": _instant(span.started_at),
        "ended_at": _instant(span.ended_at),
        "seconds": span.length.total_seconds(),
        "cost": _money(cost(span.started_at, span.ended_at)),
        "run": span.run,
    }


def _row(row: SessionFigure, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "id": row.session_id,
        "machine": row.instance.machine,
        "started_at": _instant(row.started_at, zone),
        "ended_at": _instant(row.ended_at, zone),
        "open": row.is_open,
        "began_before": row.began_before,
        "went_on_after": row.went_on_after,
        "end_reason": row.end_reason,
        "minutes": _minutes(row.length),
        "seconds": row.length.total_seconds(),
        "gpu": row.instance.gpu,
        "gpu_count": row.instance.gpu_count,
        **_price(row.price),
        "cost": _money(row.cost_micros),
        "billing_rule": row.rule,
        "phases": {phase: _phase(figure) for phase, figure in row.phases.items()},
    }


def _phase(figure: PhaseFigure) -> dict[str, Any]:
    return {"seconds": figure.length.total_seconds(), "cost": _money(figure.cost_micros)}


def _totals(report: MonthReport) -> dict[str, Any]:
    return {
        "sessions": len(report.rows),
        "minutes": _minutes(report.length),
        "seconds": report.length.total_seconds(),
        "phase_seconds": {phase: length.total_seconds() for phase, length in report.phase_lengths.items()},
        "costs": [_currency(total) for total in report.totals],
        "unpriced": {"sessions": report.unpriced_count, "seconds": report.unpriced_length.total_seconds()},
        "costs_with_standing": {currency: _money(micros) for currency, micros in report.costs_with_standing.items()},
    }


def _standing(figure: StandingFigure) -> dict[str, Any]:
    return {
        "name": figure.charge.name,
        "per_month": _money(figure.charge.micros_per_month),
        "currency": figure.charge.currency,
        "while": figure.charge.when,
        "cost": _money(figure.cost_micros),
    }


def _currency(total: CurrencyTotal) -> dict[str, Any]:
    return {
        "currency": total.currency,
        "sessions": total.session_count,
        "cost": _money(total.cost_micros),
        "phases": {phase: _money(micros) for phase, micros in total.phase_micros.items()},
    }


def _csv_columns() -> list[str]:
    session = ["session", "machine", "started_at", "ended_at", "open", "end_reason", "minutes", "gpu", "gpu_count"]
    money = ["price_per_hour", "currency", "price_source", "cost"]
    return session + money + [f"{phase}_{figure}" for phase in Phase for figure in ("seconds", "cost")]


def _csv_row(row: SessionFigure, zone: ZoneInfo) -> Mapping[str, Any]:
    facts = _row(row, zone)
    known = {name: facts[name] for name in _csv_columns() if name in facts}
    for phase, figure in row.phases.items():
        known[f"{phase}_seconds"] = figure.length.total_seconds()
        known[f"{phase}_cost"] = _money(figure.cost_micros)
    return known | {"session": row.session_id, "open": "yes" if row.is_open else "no"}


def _price(price: Price | None) -> dict[str, str | None]:
    return {
        "price_per_hour": _money(price.micros_per_hour) if price else None,
        "currency": price.currency if price else None,
        "price_source": price.source if price else None,
    }


def _money(micros: int | None) -> str | None:
    return None if micros is None else format_amount(micros)


def _minutes(length: timedelta) -> float:
    return round(length.total_seconds() / 60, 2)


def _instant(instant: datetime, zone: ZoneInfo | None = None) -> str:
    if zone is not None:
        return instant.astimezone(zone).isoformat()
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
