"""From rows of sessions and phases to `Session` values.

A report reads tens of thousands of phases: what is done to each row here is most of the time that reading takes.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Select, select, type_coerce

from costctl.domain.money import Price
from costctl.domain.sessions import EndReason, Instance, Phase, PhaseSpan, Session
from costctl.ledger.schema import INSTANCES, PHASES, SESSIONS, instant_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    # The session, the start of a phase in microseconds, the phase and its engine run.
    Start = tuple[int, int, str, int | None]

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
    return [_session(row, starts.get(row[0], ())) for row in connection.execute(query).all()]


def _starts(connection: Connection, session_ids: Select[Any]) -> Mapping[int, Iterable[Start]]:
    # As the integer that is stored: of a phase only its start becomes an instant, and only once.
    started_at = type_coerce(PHASES.c.started_at, BigInteger)
    query = select(PHASES.c.session_id, started_at, PHASES.c.phase, PHASES.c.run)
    query = query.where(PHASES.c.session_id.in_(session_ids)).order_by(PHASES.c.session_id, PHASES.c.started_at)
    rows = connection.execute(query).all()
    return {session_id: tuple(starts) for session_id, starts in groupby(rows, itemgetter(0))}


def _session(row: Sequence[Any], starts: Iterable[Start]) -> Session:
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
        phases=_spans(starts, ended_at or heartbeat_at),
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


def _spans(starts: Iterable[Start], known_until: datetime) -> tuple[PhaseSpan, ...]:
    if not starts:
        return ()
    _, instants, phases, runs = zip(*starts, strict=True)
    edges = [*map(instant_of, instants), known_until]
    return tuple(map(PhaseSpan, map(_PHASES.__getitem__, phases), edges, edges[1:], runs))
