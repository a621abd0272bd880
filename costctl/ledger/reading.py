"""From rows of sessions and phases to `Session` values."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Select, select

from costctl.domain.money import Price
from costctl.domain.sessions import EndReason, Instance, Phase, PhaseSpan, Session
from costctl.ledger.schema import InstanceRow, PhaseRow, SessionRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    # The start of a phase, the phase and its engine run.
    Start = tuple[datetime, str, int | None]

_AT_ONCE = 500  # databases bound the number of parameters in a statement
_INSTANCE = ("machine", "provider", "instance_type", "region", "market", "gpu", "gpu_count")


def sessions_query() -> Select[Any]:
    """Return the query for sessions with their instances, to be narrowed and ordered."""
    return select(*SessionRow.__table__.columns, *(getattr(InstanceRow, name) for name in _INSTANCE)).join(
        InstanceRow, InstanceRow.id == SessionRow.instance_id
    )


def read_sessions(connection: Connection, query: Select[Any]) -> list[Session]:
    """Return the sessions that `query` finds, in its order, with their phases."""
    rows = connection.execute(query).all()
    starts = _starts(connection, [row.id for row in rows])
    return [_session(row, starts.get(row.id, ())) for row in rows]


def _starts(connection: Connection, session_ids: Sequence[int]) -> Mapping[int, Sequence[Start]]:
    found: defaultdict[int, list[Start]] = defaultdict(list)
    query = select(PhaseRow.session_id, PhaseRow.started_at, PhaseRow.phase, PhaseRow.run)
    for first in range(0, len(session_ids), _AT_ONCE):
        some = query.where(PhaseRow.session_id.in_(session_ids[first : first + _AT_ONCE]))
        for session_id, at, phase, run in connection.execute(some.order_by(PhaseRow.session_id, PhaseRow.started_at)):
            found[session_id].append((at, phase, run))
    return found


def _session(row: Row[Any], starts: Sequence[Start]) -> Session:
    return Session(
        id=row.id,
        instance=Instance(**{name: getattr(row, name) for name in _INSTANCE}),
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        ended_at=row.ended_at,
        end_reason=EndReason(row.end_reason) if row.end_reason else None,
        price=_price(row),
        rule_name=row.billing_rule,
        phases=tuple(_spans(starts, row.ended_at or row.heartbeat_at)),
    )


def _price(row: Row[Any]) -> Price | None:
    if row.price_micros_per_hour is None:
        return None
    return Price(
        micros_per_hour=row.price_micros_per_hour,
        currency=row.currency,
        source=row.price_source,
        dated=row.price_dated,
    )


def _spans(starts: Sequence[Start], known_until: datetime) -> Iterator[PhaseSpan]:
    ends = [start[0] for start in starts[1:]] + [known_until]
    for (started_at, phase, run), ended_at in zip(starts, ends, strict=False):
        yield PhaseSpan(phase=Phase(phase), started_at=started_at, ended_at=ended_at, run=run)
