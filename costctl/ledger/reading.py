"""From rows of sessions and phases to `Session` values.

A report reads tens of thousands of phases: what is done to each row here is most of the time that reading takes.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select

from costctl.domain.instants import instant_of
from costctl.domain.money import Price
from costctl.domain.sessions import EndReason, Instance, Phase, PhaseColumns, Session
from costctl.ledger.schema import INSTANCES, PHASES, SESSIONS, stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    # Of the phases of a session the starts, in microseconds, what they were, and their engine runs.
    Starts = tuple[tuple[int, ...], tuple[Phase, ...], tuple[int | None, ...]]

_INSTANCE = ("machine", "provider", "instance_type", "region", "market", "gpu", "gpu_count")
_PRICE = (
    SESSIONS.c.price_micros_per_hour,
    SESSIONS.c.currency,
    SESSIONS.c.price_source,
    stored(SESSIONS.c.price_dated),
)
_SESSION = (
    SESSIONS.c.id,
    stored(SESSIONS.c.started_at),
    stored(SESSIONS.c.heartbeat_at),
    stored(SESSIONS.c.ended_at),
    SESSIONS.c.end_reason,
    SESSIONS.c.billing_rule,
)
# Enum's own look-up is written in Python.
_PHASES = {phase.value: phase for phase in Phase}
_REASONS = {reason.value: reason for reason in EndReason}


def sessions_query() -> Select[Any]:
    """Return the query for sessions with their instances, to be narrowed and ordered."""
    columns: list[Any] = [*_SESSION, *_PRICE, *(INSTANCES.c[name] for name in _INSTANCE)]
    return select(*columns).join(INSTANCES, INSTANCES.c.id == SESSIONS.c.instance_id)


def read_sessions(connection: Connection, query: Select[Any]) -> list[Session]:
    """Return the sessions that `query` finds, in its order, with their phases."""
    starts = _starts(connection, query.with_only_columns(SESSIONS.c.id))
    return [_session(row, starts.get(row[0])) for row in connection.execute(query).all()]


def _starts(connection: Connection, session_ids: Select[Any]) -> Mapping[int, Starts]:
    query = select(PHASES.c.session_id, stored(PHASES.c.started_at), PHASES.c.phase, PHASES.c.run)
    query = query.where(PHASES.c.session_id.in_(session_ids)).order_by(PHASES.c.session_id, PHASES.c.started_at)
    rows = connection.execute(query).all()
    if not rows:
        return {}
    ids, starts, names, runs = zip(*rows, strict=True)
    phases = tuple(map(_PHASES.__getitem__, names))
    firsts = [place for place, session_id in enumerate(ids) if not place or session_id != ids[place - 1]]
    return {
        ids[first]: (starts[first:following], phases[first:following], runs[first:following])
        for first, following in pairwise([*firsts, len(ids)])
    }


def _session(row: Sequence[Any], starts: Starts | None) -> Session:
    session_id, started_us, heartbeat_us, ended_us, end_reason, rule_name, *rest = row
    heartbeat_at = instant_of(heartbeat_us)
    return Session(
        id=session_id,
        instance=_instance(*rest[len(_PRICE) :]),
        started_at=instant_of(started_us),
        heartbeat_at=heartbeat_at,
        ended_at=None if ended_us is None else heartbeat_at if ended_us == heartbeat_us else instant_of(ended_us),
        end_reason=_REASONS[end_reason] if end_reason else None,
        price=_price(*rest[: len(_PRICE)]),
        rule_name=rule_name,
        phase_columns=_columns(starts, heartbeat_us if ended_us is None else ended_us),
    )


@lru_cache(maxsize=1024)  # many sessions have the same, and should share it
def _instance(*facts: Any) -> Instance:
    return Instance(**dict(zip(_INSTANCE, facts, strict=True)))


@lru_cache(maxsize=1024)
def _price(micros_per_hour: int | None, currency: str | None, source: str | None, dated: int | None) -> Price | None:
    if micros_per_hour is None or currency is None or source is None or dated is None:
        return None
    return Price(micros_per_hour=micros_per_hour, currency=currency, source=source, dated=instant_of(dated))


def _columns(starts: Starts | None, known_until: int) -> PhaseColumns:
    if starts is None:
        return PhaseColumns()
    instants, phases, runs = starts
    return PhaseColumns((*instants, known_until), phases, runs)
