"""The figures of a month: its sessions cut to it, what each phase took and cost, and the totals.

All sums are exact: phases sum to their session, sessions to the totals, and the months to the sessions that span them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from costctl.domain.sessions import EndReason, Instance, Phase, Session
from costctl.domain.standing import StandingCharge, standing_cost
from costctl.reports.periods import parse_month

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from zoneinfo import ZoneInfo

    from costctl.domain.money import Price
    from costctl.domain.sessions import Costing

_NOTHING = timedelta(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseFigure:
    """How long a phase took in all, and what that cost (None if unpriced)."""

    length: timedelta
    cost_micros: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionFigure:
    """The part of one session that lies in the month."""

    session_id: int
    instance: Instance
    started_at: datetime
    ended_at: datetime
    """Where the part ends; of an open session, how far it is known."""
    is_open: bool
    began_before: bool
    went_on_after: bool
    end_reason: EndReason | None
    price: Price | None
    cost_micros: int | None
    phases: Mapping[Phase, PhaseFigure]
    rule: str | None = None
    """The billing rule behind the cost; None is the exact time."""

    @property
    def length(self) -> timedelta:
        """How long the part is."""
        return self.ended_at - self.started_at


@dataclass(frozen=True, kw_only=True, slots=True)
class CurrencyTotal:
    """What the month cost in one currency."""

    currency: str
    session_count: int
    cost_micros: int
    phase_micros: Mapping[Phase, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class StandingFigure:
    """What a standing charge came to in the month, as far as it has gone."""

    charge: StandingCharge
    cost_micros: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MonthReport:
    """A month in figures; all instants in UTC, to be shown in `zone`."""

    month: str
    zone: ZoneInfo
    started_at: datetime
    ended_at: datetime
    rows: tuple[SessionFigure, ...]
    length: timedelta
    phase_lengths: Mapping[Phase, timedelta]
    totals: tuple[CurrencyTotal, ...]
    """By currency; never added across currencies."""
    unpriced_count: int
    unpriced_length: timedelta
    """Sessions of unknown price are counted here, and in no total of money."""
    standing: tuple[StandingFigure, ...] = ()
    """In no total of the sessions."""

    @property
    def costs_with_standing(self) -> Mapping[str, int]:
        """What sessions and standing charges come to, by currency."""
        costs: Counter[str] = Counter({total.currency: total.cost_micros for total in self.totals})
        for figure in self.standing:
            costs[figure.charge.currency] += figure.cost_micros
        return dict(sorted(costs.items()))


def month_report(
    sessions: Iterable[Session],
    *,
    month: str,
    zone: ZoneInfo,
    standing: Iterable[StandingCharge] = (),
    until: datetime | None = None,
) -> MonthReport:
    """Return the figures of `month` in `zone` from the sessions that overlap it; others are left out.

    Standing charges count up to `until`: in the present month, that is now.

    Raises:
        BadValueError: not a month.
    """
    period = parse_month(month, zone)
    begin, end = period.started_at, period.ended_at
    found = [session for session in sessions if _is_in(session, begin, end)]
    rows = tuple(_row(session, begin, end) for session in found)
    unpriced = [row for row in rows if row.price is None]
    return MonthReport(
        month=period.label,
        zone=zone,
        started_at=begin,
        ended_at=end,
        rows=rows,
        length=sum((row.length for row in rows), _NOTHING),
        phase_lengths=_phase_lengths(rows),
        totals=tuple(_totals(rows)),
        unpriced_count=len(unpriced),
        unpriced_length=sum((row.length for row in unpriced), _NOTHING),
        standing=tuple(_standing(standing, begin, min(end, until or end), zone, found)),
    )


def _standing(
    charges: Iterable[StandingCharge], begin: datetime, end: datetime, zone: ZoneInfo, sessions: Iterable[Session]
) -> Iterable[StandingFigure]:
    up = [(session.started_at, session.known_until) for session in sessions]
    for charge in charges:
        micros = standing_cost(charge, begin, end, zone, up)
        if micros:
            yield StandingFigure(charge=charge, cost_micros=micros)


def _is_in(session: Session, begin: datetime, end: datetime) -> bool:
    # One that has just begun has no length yet, but belongs to the month.
    return session.started_at < end and (session.known_until > begin or session.started_at >= begin)


def _row(session: Session, begin: datetime, end: datetime) -> SessionFigure:
    cost = session.costing()
    return SessionFigure(
        session_id=session.id,
        instance=session.instance,
        started_at=max(session.started_at, begin),
        ended_at=min(session.known_until, end),
        is_open=session.ended_at is None,
        began_before=session.started_at < begin,
        went_on_after=session.known_until > end,
        end_reason=session.end_reason,
        price=session.price,
        cost_micros=cost(begin, end),
        phases=_phases(session, begin, end, cost),
        rule=session.rule.name if session.rule else None,
    )


def _phases(session: Session, begin: datetime, end: datetime, cost: Costing) -> Mapping[Phase, PhaseFigure]:
    lengths: dict[Phase, timedelta] = {}
    micros: Counter[Phase] = Counter()
    for span in session.spans(begin, end):
        lengths[span.phase] = lengths.get(span.phase, _NOTHING) + span.length
        micros[span.phase] += cost(span.started_at, span.ended_at) or 0
    return {
        phase: PhaseFigure(length=lengths[phase], cost_micros=micros[phase] if session.price else None)
        for phase in Phase
        if phase in lengths
    }


def _phase_lengths(rows: Iterable[SessionFigure]) -> Mapping[Phase, timedelta]:
    lengths = dict.fromkeys(Phase, _NOTHING)
    for row in rows:
        for phase, figure in row.phases.items():
            lengths[phase] += figure.length
    return {phase: length for phase, length in lengths.items() if length}


def _totals(rows: Iterable[SessionFigure]) -> Iterable[CurrencyTotal]:
    by_currency: dict[str, list[SessionFigure]] = {}
    for row in rows:
        if row.price is not None:
            by_currency.setdefault(row.price.currency, []).append(row)
    for currency, priced in sorted(by_currency.items()):
        micros: Counter[Phase] = Counter()
        for row in priced:
            micros.update({phase: figure.cost_micros or 0 for phase, figure in row.phases.items()})
        yield CurrencyTotal(
            currency=currency,
            session_count=len(priced),
            cost_micros=sum(row.cost_micros or 0 for row in priced),
            phase_micros={phase: micros[phase] for phase in Phase if phase in micros},
        )
