"""Verbs about instances, sessions and their phases."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from costctl.domain.sessions import EndReason, Instance, Phase, Session
from costctl.errors import LedgerError
from costctl.ledger.batches import lose_batches
from costctl.ledger.reading import read_sessions, sessions_query
from costctl.ledger.schema import ENGINE_RUNS, INSTANCES, PHASES, SESSIONS
from costctl.ledger.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from costctl.domain.money import Price

_AT_ONCE = 500
"""A database takes so many values in one statement without complaint."""


class Sessions(Transactions):
    """Sessions are opened, kept alive, moved from phase to phase, closed, and taken up again in the same power-on.

    Whatever the machine's clock does, time in a session only goes forwards: an instant before the last one known
    counts as that one.
    """

    def register_instance(self, instance: Instance) -> int:
        """Return the id of `instance`, which is new if any fact about it is."""
        facts = asdict(instance)
        same = [INSTANCES.c[name].is_not_distinct_from(value) for name, value in facts.items()]
        with self._begin() as connection:
            found = connection.execute(select(INSTANCES.c.id).where(*same)).scalar()
            return found or _new_id(connection.execute(insert(INSTANCES).values(facts)))

    def latest_session(self, *, machine: str, key: str) -> Session | None:
        """Return the newest session of `machine` in the power-on called `key`."""
        query = sessions_query().where(SESSIONS.c.power_on_key == key, INSTANCES.c.machine == machine)
        newest = query.order_by(SESSIONS.c.started_at.desc(), SESSIONS.c.id.desc()).limit(1)
        with self._look() as connection:
            return next(iter(read_sessions(connection, newest)), None)

    def find_session(self, session_id: int) -> Session | None:
        """Return the session with this id."""
        with self._look() as connection:
            return next(iter(read_sessions(connection, sessions_query().where(SESSIONS.c.id == session_id))), None)

    def sessions_numbered(self, session_ids: Iterable[int]) -> dict[int, Session]:
        """Return the sessions with these ids, by id."""
        ids = sorted(set(session_ids))
        parts = [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
        with self._look() as connection:
            found = [read_sessions(connection, sessions_query().where(SESSIONS.c.id.in_(part))) for part in parts]
        return {session.id: session for part in found for session in part}

    def sessions(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
        gpus: Collection[str] | None = None,
    ) -> list[Session]:
        """Return the sessions that overlap [since, until), or the `last` few of them, in the order of their starts.

        With `gpus` only those of machines with a GPU of such a name.
        """
        query = sessions_query().order_by(SESSIONS.c.heartbeat_at.desc(), SESSIONS.c.id.desc()).limit(last)
        if since is not None:
            query = query.where(SESSIONS.c.heartbeat_at > since)
        if until is not None:
            query = query.where(SESSIONS.c.started_at < until)
        if gpus is not None:
            query = query.where(INSTANCES.c.gpu.in_(gpus))
        with self._look() as connection:
            found = read_sessions(connection, query)
        return sorted(found, key=lambda session: (session.started_at, session.id))

    def gpu_names(self) -> set[str]:
        """Return by which names the drivers called the GPUs of all machines."""
        with self._look() as connection:
            return {gpu for gpu in connection.execute(select(INSTANCES.c.gpu).distinct()).scalars() if gpu}

    def first_start(self) -> datetime | None:
        """Return when the first session of the ledger began; None if there is none."""
        with self._look() as connection:
            return connection.execute(select(SESSIONS.c.started_at).order_by(SESSIONS.c.id).limit(1)).scalar()

    def open_session(
        self,
        *,
        instance_id: int,
        key: str,
        started_at: datetime,
        at: datetime,
        price: Price | None,
        phase: Phase,
        rule: str | None = None,
    ) -> int:
        """Begin a session, billed and in `phase` from `started_at` and known up to `at`; return its id.

        Its price and the name of its billing `rule` are frozen into it.
        """
        values = {
            "instance_id": instance_id,
            "power_on_key": key,
            "started_at": started_at,
            "heartbeat_at": max(started_at, at),
            "billing_rule": rule,
        }
        with self._begin() as connection:
            session_id = _new_id(connection.execute(insert(SESSIONS).values(values | _frozen(price))))
            _place_phase(connection, session_id, at=started_at, phase=phase, run=None)
        return session_id

    def resume_session(self, session_id: int, *, at: datetime, price: Price | None) -> None:
        """Take up a session again after the daemon was away: that time is `unknown`, what was open is lost.

        A price that is known stays; one that was not is `price` from the start.
        """
        with self._begin() as connection:
            row = _require(connection, session_id)
            known_until = row.ended_at or row.heartbeat_at
            _lose_runs(connection, session_id, at=known_until)
            lose_batches(connection, session_id, at=known_until)
            values = {"ended_at": None, "end_reason": None, "heartbeat_at": max(known_until, at)}
            if row.price_micros_per_hour is None:
                values |= _frozen(price)
            connection.execute(update(SESSIONS).where(SESSIONS.c.id == session_id).values(values))
            if known_until < at:
                _place_phase(connection, session_id, at=known_until, phase=Phase.UNKNOWN, run=None)

    def heartbeat(self, session_id: int, at: datetime) -> None:
        """Say that the session is alive at `at`; nothing happens if it has ended, or is known for longer."""
        with self._begin() as connection:
            _touch(connection, session_id, at)

    def begin_phase(self, session_id: int, *, at: datetime, phase: Phase, run: int | None = None) -> None:
        """End the present phase and begin `phase`, with engine run `run` in it; nothing happens if it is the same.

        Raises:
            LedgerError: the session has ended.
        """
        with self._begin() as connection:
            if _require(connection, session_id).ended_at is not None:
                raise LedgerError(f"session {session_id} has ended: no phase can begin in it")
            _place_phase(connection, session_id, at=at, phase=phase, run=run)
            _touch(connection, session_id, at)

    def close_session(self, session_id: int, *, at: datetime, reason: EndReason) -> None:
        """End the session, and what is still open in it as lost; a session that has ended stays as it is."""
        with self._begin() as connection:
            if _require(connection, session_id).ended_at is None:
                _close(connection, session_id, at=max(at, _last_start(connection, session_id)), reason=reason)

    def close_lost_sessions(self, *, machine: str, except_key: str) -> list[int]:
        """End the sessions of `machine` left open by other power-ons at their last heartbeat; return their ids."""
        left_open = select(SESSIONS.c.id, SESSIONS.c.heartbeat_at).join(INSTANCES).order_by(SESSIONS.c.id)
        left_open = left_open.where(
            SESSIONS.c.ended_at.is_(None), SESSIONS.c.power_on_key != except_key, INSTANCES.c.machine == machine
        )
        with self._begin() as connection:
            rows = connection.execute(left_open).all()
            for row in rows:
                _close(connection, row.id, at=row.heartbeat_at, reason=EndReason.LOST)
        return [row.id for row in rows]


def _new_id(result: Any) -> int:
    return int(result.inserted_primary_key[0])


def _frozen(price: Price | None) -> dict[str, Any]:
    if price is None:
        return {}
    return {
        "price_micros_per_hour": price.micros_per_hour,
        "currency": price.currency,
        "price_source": price.source,
        "price_dated": price.dated,
    }


def _require(connection: Connection, session_id: int) -> Any:
    row = connection.execute(
        select(SESSIONS.c.heartbeat_at, SESSIONS.c.ended_at, SESSIONS.c.price_micros_per_hour).where(
            SESSIONS.c.id == session_id
        )
    ).one_or_none()
    if row is None:
        raise LedgerError(f"the ledger has no session {session_id}")
    return row


def _touch(connection: Connection, session_id: int, at: datetime) -> None:
    alive = (SESSIONS.c.id == session_id, SESSIONS.c.ended_at.is_(None), SESSIONS.c.heartbeat_at < at)
    connection.execute(update(SESSIONS).where(*alive).values(heartbeat_at=at))


def _newest_starts(connection: Connection, session_id: int) -> list[Any]:
    starts = select(PHASES.c.started_at, PHASES.c.phase, PHASES.c.run).where(PHASES.c.session_id == session_id)
    return list(connection.execute(starts.order_by(PHASES.c.started_at.desc()).limit(2)))


def _last_start(connection: Connection, session_id: int) -> datetime:
    started_at: datetime = _newest_starts(connection, session_id)[0].started_at
    return started_at


def _place_phase(connection: Connection, session_id: int, *, at: datetime, phase: Phase, run: int | None) -> None:
    newest = _newest_starts(connection, session_id)
    if newest and newest[0].started_at >= at:
        at = newest[0].started_at
        here = (PHASES.c.session_id == session_id, PHASES.c.started_at == at)
        connection.execute(delete(PHASES).where(*here))
        del newest[0]
    if newest and (newest[0].phase, newest[0].run) == (phase, run):
        return
    connection.execute(insert(PHASES).values(session_id=session_id, started_at=at, phase=phase, run=run))


def _close(connection: Connection, session_id: int, *, at: datetime, reason: EndReason) -> None:
    _lose_runs(connection, session_id, at=at)
    lose_batches(connection, session_id, at=at)
    values = {"ended_at": at, "heartbeat_at": at, "end_reason": reason}
    connection.execute(update(SESSIONS).where(SESSIONS.c.id == session_id).values(values))


def _lose_runs(connection: Connection, session_id: int, *, at: datetime) -> None:
    still_open = select(ENGINE_RUNS.c.number, ENGINE_RUNS.c.started_at, ENGINE_RUNS.c.ready_at).where(
        ENGINE_RUNS.c.session_id == session_id, ENGINE_RUNS.c.ended_at.is_(None)
    )
    for run in connection.execute(still_open).all():
        this = (ENGINE_RUNS.c.session_id == session_id, ENGINE_RUNS.c.number == run.number)
        ended_at = max(at, run.ready_at or run.started_at)
        connection.execute(update(ENGINE_RUNS).where(*this).values(ended_at=ended_at, outcome="lost"))
