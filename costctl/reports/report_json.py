"""A report as JSON: for programs, so exact. `schemas/report-1.json` says what each key means."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

from costctl.domain.sessions import Phase
from costctl.reports.caching import cache_object
from costctl.reports.comparison_json import comparison_object
from costctl.reports.exact import amounts, instant, json_text, money, seconds
from costctl.reports.figures import NOTHING, Part
from costctl.reports.forecast import forecast_object
from costctl.reports.hosted import hosted_object
from costctl.reports.rates import rates_object
from costctl.reports.summary import MILLION, per
from costctl.reports.tails import tails_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from zoneinfo import ZoneInfo

    from costctl.domain.comparison import Comparison
    from costctl.ledger.values import GpuUse
    from costctl.reports.figures import (
        BatchFigure,
        CurrencyTotal,
        PhaseFigure,
        Report,
        SessionFigure,
        Slice,
        StandingFigure,
        Usage,
    )
    from costctl.reports.studies import Studies

    K = TypeVar("K")

SCHEMA = "costctl.report/1"
"""As `schemas/report-1.json` says. It may grow by keys; a change of what is there is another number."""

_NO_PART = Part(length=NOTHING, micros={})


def report_json(report: Report, studies: Studies) -> str:
    """Return a report as a JSON object."""
    return json_text(report_object(report, studies))


def report_object(report: Report, studies: Studies) -> dict[str, Any]:
    """Return a report as an object, instants in the time zone of its period."""
    zone = report.period.zone
    return {
        "schema": SCHEMA,
        "period": _period(report),
        "totals": _totals(report),
        "sessions": [session_object(row, zone) for row in report.rows],
        "days": _days(report),
        "models": _models(report),
        "ends": _ends(report),
        "batches": [_batch(batch, zone) for batch in report.batches],
        "standing": [_standing(figure) for figure in report.standing],
        "gpus": [_gpu(use) for use in report.gpu_use],
        "forecast": forecast_object(studies.months),
        "idle_tails": tails_object(studies.windows, zone),
        **_comparison(studies.comparison),
        "cache": cache_object(studies.cached),
        "hosted": hosted_object(studies.hosted),
        "rates": rates_object(studies.rates),
    }


def _comparison(found: Comparison | str | None) -> dict[str, Any]:
    if found is None or isinstance(found, str):
        return {"comparison": None, "comparison_error": found}
    return {"comparison": comparison_object(found), "comparison_error": None}


def session_object(row: SessionFigure, zone: ZoneInfo) -> dict[str, Any]:
    """Return the part of a session that lies in the period."""
    price = row.price
    return {
        "id": row.session_id,
        "machine": row.instance.machine,
        "started_at": instant(row.started_at, zone),
        "ended_at": instant(row.ended_at, zone),
        "open": row.is_open,
        "began_before": row.began_before,
        "went_on_after": row.went_on_after,
        "end_reason": row.end_reason,
        "minutes": round(row.length.total_seconds() / 60, 2),
        "seconds": seconds(row.length),
        "gpu": row.instance.gpu,
        "gpu_count": row.instance.gpu_count,
        "price_per_hour": money(price.micros_per_hour) if price else None,
        "price_currency": price.currency if price else None,
        "price_source": price.source if price else None,
        "cost": money(row.cost_micros),
        "currency": row.currency,
        "billing_rule": row.rule,
        "phases": {phase: _phase(figure) for phase, figure in row.phases.items()},
    }


def _phase(figure: PhaseFigure) -> dict[str, Any]:
    return {"seconds": figure.seconds, "cost": money(figure.cost_micros)}


def _period(report: Report) -> dict[str, Any]:
    period = report.period
    return {
        "label": period.label,
        "kind": period.kind,
        "started_at": instant(period.started_at, period.zone),
        "ended_at": instant(period.ended_at, period.zone),
        "known_until": instant(report.known_until, period.zone),
        "time_zone": str(period.zone),
    }


def _totals(report: Report) -> dict[str, Any]:
    whole = _parts(report, lambda _: None, lambda _: None).get(None) or _part(_NO_PART, {}, ())
    return {
        "sessions": len(report.rows),
        "unpriced_sessions": len(report.unpriced),
        **whole,
        "costs_with_standing": amounts(report.costs_with_standing),
        "currencies": [_currency(total) for total in report.totals],
    }


def _currency(total: CurrencyTotal) -> dict[str, Any]:
    return {
        "currency": total.currency,
        "sessions": total.session_count,
        "seconds": seconds(total.length),
        "cost": money(total.cost_micros),
        "waste": money(total.waste_micros),
        "requests": total.requests,
        "tokens": total.tokens,
        "per_1000_requests": money(per(total.cost_micros, total.requests, 1000)),
        "per_million_tokens": money(per(total.cost_micros, total.tokens, MILLION)),
    }


def _days(report: Report) -> list[dict[str, Any]]:
    parts = _parts(report, lambda piece: piece.day, lambda use: use.day)
    return [{"day": day.isoformat(), **parts[day]} for day in sorted(parts)]


def _models(report: Report) -> list[dict[str, Any]]:
    parts = _parts(report, lambda piece: piece.model, lambda use: use.model)
    names = sorted(parts, key=lambda model: (model is None, model or ""))
    return [{"model": model, **parts[model]} for model in names]


def _parts(report: Report, of_piece: Callable[[Slice], K], of_use: Callable[[Usage], K]) -> dict[K, dict[str, Any]]:
    """Return the period cut by a key of its time and of what was asked in it."""
    wholes = report.parts(of_piece)
    phases = report.parts(lambda piece: (of_piece(piece), piece.phase))
    asked: defaultdict[K, list[Usage]] = defaultdict(list)
    for use in report.usage:
        asked[of_use(use)].append(use)
    return {
        key: _part(
            wholes.get(key, _NO_PART),
            {phase: phases[key, phase] for phase in Phase if (key, phase) in phases},
            asked.get(key, ()),
        )
        for key in {**wholes, **asked}
    }


def _part(whole: Part, phases: Mapping[Phase, Part], usage: Iterable[Usage]) -> dict[str, Any]:
    counts = Counter({"requests": 0, "prompt_tokens": 0, "generation_tokens": 0})
    for use in usage:
        counts.update({name: getattr(use, name) for name in counts})
    return {
        **_time(whole),
        "unpriced_seconds": seconds(whole.unpriced),
        "phases": {phase: _time(part) for phase, part in phases.items()},
        **counts,
    }


def _time(part: Part) -> dict[str, Any]:
    return {"seconds": seconds(part.length), "costs": amounts(part.micros)}


def _ends(report: Report) -> list[dict[str, Any]]:
    return [
        {"end_reason": reason, "sessions": len(rows), "seconds": seconds(sum((row.length for row in rows), NOTHING))}
        for reason, rows in report.rows_by_end.items()
    ]


def _batch(batch: BatchFigure, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "name": batch.name,
        "session": batch.session_id,
        "started_at": instant(batch.started_at, zone),
        "seconds": seconds(batch.length),
        "cost": money(batch.cost_micros),
        "currency": batch.currency,
        "requests": batch.requests,
        "failed_requests": batch.failed_requests,
        "prompt_tokens": batch.prompt_tokens,
        "generation_tokens": batch.generation_tokens,
        "outcome": batch.outcome,
    }


def _standing(figure: StandingFigure) -> dict[str, Any]:
    return {
        "name": figure.charge.name,
        "per_month": money(figure.charge.micros_per_month),
        "while": figure.charge.when,
        "cost": money(figure.cost_micros),
        "currency": figure.charge.currency,
    }


def _gpu(use: GpuUse) -> dict[str, Any]:
    return {
        "gpu": use.gpu,
        "minutes": use.minutes,
        "mean_utilisation_percent": use.mean_utilisation_percent,
        "peak_memory_bytes": use.peak_memory_bytes,
        "mean_watts": None if use.mean_milliwatts is None else use.mean_milliwatts / 1000,
    }
