"""Open the ledger's session when the daemon starts, and make good what an earlier daemon could not finish."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from costctl.domain.sessions import Phase
from costctl.domain.timeline import Timeline

if TYPE_CHECKING:
    from datetime import datetime

    from costctl.domain.money import Price
    from costctl.domain.sessions import Instance, Session
    from costctl.ledger.store import Ledger
    from costctl.ports import Clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """How the session was opened: its number, timeline and price, and what is worth saying."""

    session_id: int
    instance_id: int
    key: str
    started_at: datetime
    price: Price | None
    rule: str | None
    timeline: Timeline
    next_run: int
    remarks: tuple[str, ...] = ()


def open_session(
    ledger: Ledger,
    *,
    instance: Instance,
    key: str,
    billed_since: datetime | None,
    price: Price | None,
    clock: Clock,
    rule: str | None = None,
) -> Opening:
    """Open this power-on's session, or take it up again; blocking.

    `billed_since` is when billing of this power-on started; None means that it starts with the daemon, so that only a
    session that a crash left open is taken up again.
    """
    now = clock.now()
    instance_id = ledger.register_instance(instance)
    lost = ledger.close_lost_sessions(machine=instance.machine, except_key=key)
    remarks = [f"session {number} of an earlier power-on was closed at its last heartbeat" for number in lost]
    known = ledger.latest_session(machine=instance.machine, key=key)
    if known is not None and (billed_since is not None or known.ended_at is None):
        at = max(now, known.known_until)
        ledger.resume_session(known.id, at=at, price=price)
        remarks += _resumed(known, price, at)
        session_id, started_at, price, rule = known.id, known.started_at, known.price or price, known.rule_name
    else:
        started_at = _not_billed_before(ledger, instance.machine, min(billed_since or now, now), now)
        at = max(now, started_at)
        phase = Phase.OFF if started_at == at else Phase.UNKNOWN
        session_id = ledger.open_session(
            instance_id=instance_id, key=key, started_at=started_at, at=at, price=price, phase=phase, rule=rule
        )
    ledger.begin_phase(session_id, at=at, phase=Phase.OFF)
    return Opening(
        session_id=session_id,
        instance_id=instance_id,
        key=key,
        started_at=started_at,
        price=price,
        rule=rule,
        timeline=Timeline(anchor=at, anchored_at_s=clock.monotonic()),
        next_run=ledger.next_run_number(session_id),
        remarks=tuple(remarks),
    )


def open_next_session(ledger: Ledger, before: Opening, *, clock: Clock) -> Opening:
    """Open another session in the same power-on, at the same price, after one that has been closed; blocking."""
    at = max(clock.now(), before.timeline.instant(clock.monotonic()))
    session_id = ledger.open_session(
        instance_id=before.instance_id,
        key=before.key,
        started_at=at,
        at=at,
        price=before.price,
        phase=Phase.OFF,
        rule=before.rule,
    )
    timeline = Timeline(anchor=at, anchored_at_s=clock.monotonic())
    return replace(before, session_id=session_id, started_at=at, timeline=timeline, next_run=1, remarks=())


def _not_billed_before(ledger: Ledger, machine: str, start: datetime, now: datetime) -> datetime:
    """Return `start`, or the end of an earlier session that it lies in: a clock that went back bills nothing twice."""
    overlapping = [one for one in ledger.sessions(since=start, until=now) if one.instance.machine == machine]
    return max([start, *(one.known_until for one in overlapping)])


def _resumed(known: Session, price: Price | None, at: datetime) -> list[str]:
    away = (at - known.known_until).total_seconds()
    remarks = [f"session {known.id} goes on; the {away:.0f} s without a daemon count as unknown"]
    if price is not None and known.price is not None and str(price) != str(known.price):
        remarks.append(f"this session's price stays {known.price} (frozen when it began); {price} holds for the next")
    return remarks
