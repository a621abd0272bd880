"""Sessions and periods as JSON and CSV: for programs, so exact. Money is decimal text, instants are ISO 8601."""

from __future__ import annotations

import json
from datetime import UTC
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from costctl.domain.csv_cells import csv_text
from costctl.domain.money import format_amount
from costctl.domain.sessions import Phase
from costctl.reports.figures import NOTHING, Part
from costctl.reports.summary import MILLION, per

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    from costctl.domain.money import Price
    from costctl.domain.sessions import PhaseSpan, Session
    from costctl.ledger.values import GpuUse
    from costctl.reports.figures import (
        BatchFigure,
        CurrencyTotal,
        PhaseFigure,
        Report,
        SessionFigure,
        StandingFigure,
        Usage,
    )

SCHEMA = "costctl.report/1"
"""As `schemas/report-1.json` says. It may grow by keys; a change of what is there is another number."""


_encode = json.JSONEncoder(ensure_ascii=False).encode
_NO_PART = Part(length=NOTHING, micros={})


def sessions_json(sessions: Iterable[Session]) -> str:
    """Return sessions as a list of objects, instants in UTC."""
    return _dump([_session(session) for session in sessions])


def report_json(report: Report, more: Mapping[str, Any] | None = None) -> str:
    """Return a period as an object, instants in its time zone; `more` are the parts that are studies of it."""
    zone = report.period.zone
    return _dump(
        {
            "schema": SCHEMA,
            "period": _period(report),
            "totals": _totals(report),
            "sessions": [_row(row, zone) for row in report.rows],
            "days": _days(report),
            "models": _models(report),
            "ends": _ends(report),
            "batches": [_batch(batch, zone) for batch in report.batches],
            "standing": [_standing(figure) for figure in report.standing],
            "gpus": [_gpu(use) for use in report.gpu_use],
            **(more or {}),
        }
    )


def report_csv(report: Report) -> str:
    """Return a period as a table of its sessions, with a column each for the seconds and the cost of every phase.

    Standing charges have rows of their own, without a session.
    """
    columns = _csv_columns()
    rows = [_csv_row(row, report.period.zone, columns) for row in report.rows]
    rows += [_standing_csv_row(figure) for figure in report.standing]
    return csv_text(columns, rows)


def _dump(document: Mapping[str, Any] | list[Any]) -> str:
    """Return a document with a line for each item of its lists: json indents too slowly for thousands of sessions."""
    if isinstance(document, list):
        return _items(document) + "\n"
    members = (f"{_encode(name)}: {_member(value)}" for name, value in document.items())
    return "{\n  " + ",\n  ".join(members) + "\n}\n"


def _member(value: Any) -> str:
    text = _items(value) if isinstance(value, list) else json.dumps(value, indent=2, ensure_ascii=False)
    return text.replace("\n", "\n  ")  # texts in it have no line ends: JSON escapes them


def _items(items: list[Any]) -> str:
    return "[\n  " + ",\n  ".join(map(_encode, items)) + "\n]" if items else "[]"


def _session(session: Session) -> dict[str, Any]:
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
        "cost": _money(session.cost()),
        "billing_rule": session.rule.name if session.rule else None,
        "phases": list(map(_span, session.phases, _phase_costs(session))),
    }


def _phase_costs(session: Session) -> Sequence[int | None]:
    costing = session.costing()
    if costing is None:
        return [None] * len(session.phase_columns.phases)
    return [after - before for before, after in pairwise(costing(session.phase_columns.edges))]


def _span(span: PhaseSpan, cost_micros: int | None) -> dict[str, Any]:
    return {
        "phase": span.phase,
        "started_at": _instant(span.started_at),
        "ended_at": _instant(span.ended_at),
        "seconds": span.length.total_seconds(),
        "cost": _money(cost_micros),
        "run": span.run,
    }


def _row(row: SessionFigure, zone: ZoneInfo) -> dict[str, Any]:
    return {**_facts(row, zone), "phases": {phase: _phase(figure) for phase, figure in row.phases.items()}}


def _facts(row: SessionFigure, zone: ZoneInfo) -> dict[str, Any]:
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
        "cost_currency": row.currency,
        "billing_rule": row.rule,
    }


def _phase(figure: PhaseFigure) -> dict[str, Any]:
    return {"seconds": figure.seconds, "cost": _money(figure.cost_micros)}


def _period(report: Report) -> dict[str, Any]:
    period = report.period
    return {
        "label": period.label,
        "kind": period.kind,
        "started_at": _instant(period.started_at, period.zone),
        "ended_at": _instant(period.ended_at, period.zone),
        "known_until": _instant(report.known_until, period.zone),
        "time_zone": str(period.zone),
    }


def _totals(report: Report) -> dict[str, Any]:
    return {
        "sessions": len(report.rows),
        "minutes": _minutes(report.length),
        "seconds": report.length.total_seconds(),
        "requests": sum(use.requests for use in report.usage),
        "prompt_tokens": sum(use.prompt_tokens for use in report.usage),
        "generation_tokens": sum(use.generation_tokens for use in report.usage),
        "phase_seconds": {phase: length.total_seconds() for phase, length in report.phase_lengths.items()},
        "costs": [_currency(total) for total in report.totals],
        "unpriced": {"sessions": len(report.unpriced), "seconds": report.unpriced_length.total_seconds()},
        "costs_with_standing": {currency: _money(micros) for currency, micros in report.costs_with_standing.items()},
    }


def _days(report: Report) -> list[dict[str, Any]]:
    parts = report.parts(lambda piece: piece.day)
    phases = report.parts(lambda piece: (piece.day, piece.phase))
    return [
        {
            "day": day.isoformat(),
            **_part(parts[day]),
            "phases": {phase: _part(phases[day, phase]) for phase in Phase if (day, phase) in phases},
            **_asked(use for use in report.usage if use.day == day),
        }
        for day in sorted(parts)
    ]


def _models(report: Report) -> list[dict[str, Any]]:
    parts = report.parts(lambda piece: piece.model)
    phases = report.parts(lambda piece: (piece.model, piece.phase))
    names = {*parts, *(use.model for use in report.usage)}
    return [
        {
            "model": model,
            **_part(parts.get(model, _NO_PART)),
            "phases": {phase: _part(phases[model, phase]) for phase in Phase if (model, phase) in phases},
            **_asked(use for use in report.usage if use.model == model),
        }
        for model in sorted(names, key=lambda model: (model is None, model or ""))
    ]


def _ends(report: Report) -> list[dict[str, Any]]:
    return [
        {"end_reason": reason, "sessions": len(rows), "seconds": sum(row.length.total_seconds() for row in rows)}
        for reason, rows in report.rows_by_end.items()
    ]


def _part(part: Part) -> dict[str, Any]:
    costs = {currency: _money(micros) for currency, micros in part.micros.items()}
    return {"seconds": part.length.total_seconds(), "costs": costs}


def _asked(usage: Iterable[Usage]) -> dict[str, int]:
    found = list(usage)
    return {
        name: sum(getattr(use, name) for use in found) for name in ("requests", "prompt_tokens", "generation_tokens")
    }


def _batch(batch: BatchFigure, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "name": batch.name,
        "session": batch.session_id,
        "started_at": _instant(batch.started_at, zone),
        "seconds": batch.length.total_seconds(),
        "currency": batch.currency,
        "cost": _money(batch.cost_micros),
        "requests": batch.requests,
        "failed_requests": batch.failed_requests,
        "prompt_tokens": batch.prompt_tokens,
        "generation_tokens": batch.generation_tokens,
    }


def _gpu(use: GpuUse) -> dict[str, Any]:
    return {
        "gpu": use.gpu,
        "minutes": use.minutes,
        "mean_utilisation_percent": use.mean_utilisation_percent,
        "peak_memory_bytes": use.peak_memory_bytes,
        "mean_watts": None if use.mean_milliwatts is None else use.mean_milliwatts / 1000,
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
        "seconds": total.length.total_seconds(),
        "cost": _money(total.cost_micros),
        "phases": {phase: _money(micros) for phase, micros in total.phase_micros.items()},
        "waste": _money(total.waste_micros),
        "requests": total.requests,
        "tokens": total.tokens,
        "per_1000_requests": _money(per(total.cost_micros, total.requests, 1000)),
        "per_million_tokens": _money(per(total.cost_micros, total.tokens, MILLION)),
    }


def _csv_columns() -> list[str]:
    session = ["session", "machine", "started_at", "ended_at", "open", "end_reason", "minutes", "gpu", "gpu_count"]
    money = ["price_per_hour", "currency", "price_source", "cost", "cost_currency"]
    return session + money + [f"{phase}_{figure}" for phase in Phase for figure in ("seconds", "cost")]


def _csv_row(row: SessionFigure, zone: ZoneInfo, columns: Iterable[str]) -> Mapping[str, Any]:
    facts = _facts(row, zone)
    known = {name: facts[name] for name in columns if name in facts}
    for phase, figure in row.phases.items():
        known[f"{phase}_seconds"] = figure.seconds
        known[f"{phase}_cost"] = _money(figure.cost_micros)
    return known | {"session": row.session_id, "open": "yes" if row.is_open else "no"}


def _standing_csv_row(figure: StandingFigure) -> Mapping[str, Any]:
    charge = figure.charge
    return {"machine": charge.name, "cost": _money(figure.cost_micros), "cost_currency": charge.currency}


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
