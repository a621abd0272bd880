"""From rows of sessions and phases to `Session` values.

A report reads tens of thousands of phases: what is done to each row here is most of the time that reading takes.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Select, select, type_coerce

from costctl.domain.instants import microseconds_of
from costctl.domain.money import Price
from costctl.domain.sessions import EndReason, Instance, Phase, PhaseColumns, Session
from costctl.ledger.schema import INSTANCES, PHASES, SESSIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    # Of the phases of a session the starts, in microseconds, what they were, and their engine runs.
    Starts = tuple[tuple[int, ...], tuple[Phase, ...], tuple[int | None, ...]]

_INSTANCE = ("machine", "provider", "instance_type", "region", "market", "gpu", "gpu_count")
_PRICE = (SESSIONS.c.price_micros_per_hour, SESSIONS.c.currency, SESSIONS.c.price_source, SESSIONS.c.price_dated)
_SESSION = (
    SESSIONS.c.id,
    SESSIONS.c.started_at,
    SESSIONS.c.heartbeat_at,
    SESSIONS.c.ended_at,
    SESSIONS.c.end_reason,
    SESSIONS.c.billing_rule,
)
_PHASES = {phase.value: phase for phase in Phase}


def sessions_query() -> Select[Any]:
    """Return the query for sessions with their instances, to be narrowed and ordered."""
    columns: list[Any] = [*_SESSION, *_PRICE, *(INSTANCES.c[name] for name in _INSTANCE)]
    return select(*columns).join(INSTANCES, INSTANCES.c.id == SESSIONS.c.instance_id)


def read_sessions(connection: Connection, query: Select[Any]) -> list[Session]:
    """Return the sessions that `query` finds, in its order, with their phases."""
    starts = _starts(connection, query.with_only_columns(SESSIONS.c.id))
    return [_session(row, starts.get(row[0])) for row in connection.execute(query).all()]


def _starts(connection: Connection, session_ids: Select[Any]) -> Mapping[int, Starts]:
    # As the integer that is stored: of most phases no start ever becomes an instant.
    started_at = type_coerce(PHASES.c.started_at, BigInteger)
    query = select(PHASES.c.session_id, started_at, PHASES.c.phase, PHASES.c.run)
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
    session_id, started_at, heartbeat_at, ended_at, end_reason, rule_name, *rest = row
    return Session(
        id=session_id,
        instance=_instance(*rest[len(_PRICE) :]),
        started_at=started_at,
        heartbeat_at=heartbeat_at,
        ended_at=ended_at,
        end_reason=EndReason(end_reason) if end_reason else None,
        price=_price(*rest[: len(_PRICE)]),
        rule_name=rule_name,
        phase_columns=_columns(starts, ended_at or heartbeat_at),
    )


@lru_cache(maxsize=1024)  # many sessions have the same, and should share it
def _instance(*facts: Any) -> Instance:
    return Instance(**dict(zip(_INSTANCE, facts, strict=True)))


@lru_cache(maxsize=1024)
def _price(
    micros_per_hour: int | None, currency: str | None, source: str | None, dated: datetime | None
) -> Price | None:
    if micros_per_hour is None or currency is None or source is None or dated is None:
        return None
    return Price(micros_per_hour=micros_per_hour, currency=currency, source=source, dated=dated)


def _columns(starts: Starts | None, known_until: datetime) -> PhaseColumns:
    if starts is None:
        return PhaseColumns()
    instants, phases, runs = starts
    return PhaseColumns((*instants, microseconds_of(known_until)), phases, runs)
