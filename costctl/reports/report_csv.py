"""A report as CSV: a table of its sessions, for spreadsheets and programs; exact, as in `report_json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costctl.domain.csv_cells import csv_text
from costctl.domain.sessions import Phase
from costctl.reports.exact import money
from costctl.reports.report_json import session_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from costctl.reports.figures import Report, SessionFigure, StandingFigure

_SESSION = ("session", "machine", "started_at", "ended_at", "open", "end_reason", "minutes", "gpu", "gpu_count")
_MONEY = ("price_per_hour", "price_currency", "price_source", "cost", "currency")
_PHASES = tuple(f"{phase}_{figure}" for phase in Phase for figure in ("seconds", "cost"))
_COLUMNS = _SESSION + _MONEY + _PHASES


def report_csv(report: Report) -> str:
    """Return a period as a table of its sessions, with a column each for the seconds and the cost of every phase.

    Standing charges have rows of their own, without a session.
    """
    rows = [_session_row(row, report.period.zone) for row in report.rows]
    return csv_text(_COLUMNS, rows + [_standing_row(figure) for figure in report.standing])


def _session_row(row: SessionFigure, zone: ZoneInfo) -> Mapping[str, Any]:
    facts = session_object(row, zone)
    known = {name: facts[name] for name in _COLUMNS if name in facts}
    for phase, figure in facts["phases"].items():
        known |= {f"{phase}_{name}": value for name, value in figure.items()}
    return known | {"session": row.session_id, "open": "yes" if row.is_open else "no"}


def _standing_row(figure: StandingFigure) -> Mapping[str, Any]:
    return {"machine": figure.charge.name, "cost": money(figure.cost_micros), "currency": figure.charge.currency}
