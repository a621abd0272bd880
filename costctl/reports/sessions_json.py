"""Sessions as JSON: a list of objects, each with its phases, instants in UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costctl.reports.exact import instant, json_text, money, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costctl.domain.sessions import Costing, PhaseSpan, Session


def sessions_json(sessions: Iterable[Session]) -> str:
    """Return `sessions`, each as it is in the ledger: whole, and in the currency of its price."""
    return json_text([_session(session) for session in sessions])


def _session(session: Session) -> dict[str, Any]:
    cost, price = session.costing(), session.price
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
        "cost": money(cost(None, None)),
        "billing_rule": session.rule.name if session.rule else None,
        "phases": [_span(cost, span) for span in session.phases],
    }


def _span(cost: Costing, span: PhaseSpan) -> dict[str, Any]:
    return {
        "phase": span.phase,
        "started_at": instant(span.started_at),
        "ended_at": instant(span.ended_at),
        "seconds": seconds(span.length),
        "cost": money(cost(span.started_at, span.ended_at)),
        "run": span.run,
    }
