"""Sessions as JSON: a list of objects, each with its phases, instants in UTC."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from costctl.reports.exact import instant, json_text, money, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from costctl.domain.sessions import PhaseSpan, Session


def sessions_json(sessions: Iterable[Session]) -> str:
    """Return `sessions`, each as it is in the ledger: whole, and in the currency of its price."""
    return json_text([_session(session) for session in sessions])


def _session(session: Session) -> dict[str, Any]:
    price = session.price
    return {
        "id": session.id,
        "machine": session.instance.machine,
        "started_at": instant(session.started_at),
        "ended_at": instant(session.ended_at) if session.ended_at else None,
        "known_until": instant(session.known_until),
        "open": session.ended_at is None,
        "end_reason": session.end_reason,
        "minutes": round(session.length.total_seconds() / 60, 2),
        "gpu": session.instance.gpu,
        "gpu_count": session.instance.gpu_count,
        "price_per_hour": money(price.micros_per_hour) if price else None,
        "currency": price.currency if price else None,
        "price_source": price.source if price else None,
        "cost": money(session.cost()),
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
        "started_at": instant(span.started_at),
        "ended_at": instant(span.ended_at),
        "seconds": seconds(span.length),
        "cost": money(cost_micros),
        "run": span.run,
    }
