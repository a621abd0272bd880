"""From sessions to the figures of a period: one pass over their phases, each cut where a day or a batch begins or ends.

A stretch costs what its session has cost up to its end less what it has cost up to its beginning; so whatever the
cuts are, the stretches sum to the session.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from operator import sub
from typing import TYPE_CHECKING

from costctl.domain.instants import length_of, microseconds_of
from costctl.domain.sessions import Phase
from costctl.domain.standing import standing_cost
from costctl.reports.figures import (
    BatchFigure,
    Cached,
    PhaseFigure,
    Report,
    SessionFigure,
    Slice,
    StandingFigure,
    Usage,
)
from costctl.reports.hours import HoursOfWeek
from costctl.reports.served import served_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime, timedelta

    from costctl.domain.periods import Day, Period
    from costctl.domain.sessions import Costing, Instance, PhaseColumns, Session
    from costctl.domain.standing import StandingCharge
    from costctl.ledger.values import Batch, CachedHour, GpuUse, RunFact, UsageHour
    from costctl.reports.hours import WeekHour
    from costctl.reports.served import Served

    # What pieces of sessions are alike in: day, phase, engine, and whether a batch was worked on.
    _Kind = tuple[date, Phase, Served | None, bool]
    # From when to when, in microseconds since 1970.
    _Edges = tuple[int, int]
    # What a session is paid in, and what its stretches cost; None if its price is unknown.
    Priced = tuple[str | None, Costing | None]


_PHASES = tuple(Phase)
_CACHED = ("hits", "misses", "prompt_tokens", "generation_tokens")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the ledger knows of the sessions that overlap a period."""

    sessions: Sequence[Session]
    runs: Sequence[RunFact] = ()
    usage: Sequence[UsageHour] = ()
    cached: Sequence[CachedHour] = ()
    batches: Sequence[Batch] = ()
    gpu_use: Sequence[GpuUse] = ()


def as_priced(session: Session) -> Priced:
    """Return what a session is paid in, and its costing: as it was billed."""
    return session.price.currency if session.price else None, session.costing()


def report_of(
    facts: Facts,
    *,
    period: Period,
    now: datetime,
    standing: Iterable[StandingCharge] = (),
    price: Callable[[Session], Priced] = as_priced,
) -> Report:
    """Return the figures of `period`; sessions outside of it are left out, and standing charges count until `now`."""
    sessions = [session for session in facts.sessions if _is_in(session, period)]
    known_until = min(period.ended_at, max(now, period.started_at))
    counting = _Counting(period, facts)
    rows = tuple(counting.row(session, *price(session)) for session in sessions)
    row_of = {row.session_id: row for row in rows}
    return Report(
        period=period,
        known_until=known_until,
        rows=rows,
        slices=counting.slices(),
        usage=_usage(facts.usage, period, row_of),
        cached=_cached(facts.cached, row_of),
        batches=tuple(counting.batches),
        runs=tuple(facts.runs),
        gpu_use=tuple(facts.gpu_use),
        busy_hours=counting.busy.lengths,
        clock_hours=_clock_hours(period, known_until),
        standing=tuple(_standing(standing, period, known_until, sessions)),
    )


class _Tally:
    """Time, in microseconds, and money that add up."""

    __slots__ = ("length", "micros")

    def __init__(self) -> None:
        self.length = 0
        self.micros = 0

    def add(self, other: _Tally) -> None:
        self.length += other.length
        self.micros += other.micros


class _Counting:
    """The pass over all sessions."""

    def __init__(self, period: Period, facts: Facts) -> None:
        self._period = period
        self._begin, self._end = microseconds_of(period.started_at), microseconds_of(period.ended_at)
        self._days = _Days(period)
        self._engines: defaultdict[int, dict[int | None, Served]] = defaultdict(dict)
        for run in facts.runs:
            self._engines[run.session_id][run.number] = served_by(run.model, run.command)
        self._batches_of = _by_session(facts.batches)
        self._alike: defaultdict[tuple[Instance, str | None], defaultdict[_Kind, _Tally]]
        self._alike = defaultdict(lambda: defaultdict(_Tally))
        self.batches: list[BatchFigure] = []
        self.busy = HoursOfWeek(period.zone)

    def row(self, session: Session, currency: str | None, costing: Costing | None) -> SessionFigure:
        """Return the row of a session, and count it in."""
        begin, end = self._period.started_at, self._period.ended_at
        batches = self._batches_of.get(session.id, ())
        self.batches.extend(_batch_figure(batch, session, currency, costing, self._period) for batch in batches)
        paid = _cost(costing, self._begin, self._end)
        phases = self._count(session, currency, costing or _nothing, batches)
        self._count_rest(session, currency, (paid or 0) - sum(tally.micros for tally in phases.values()), phases)
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
            currency=currency,
            cost_micros=paid,
            phases={
                phase: PhaseFigure(phases[phase].length, None if currency is None else phases[phase].micros)
                for phase in _PHASES
                if phase in phases
            },
            rule=session.rule.name if session.rule else None,
        )

    def _count(
        self, session: Session, currency: str | None, costing: Costing, batches: Sequence[Batch]
    ) -> defaultdict[Phase, _Tally]:
        """Count all pieces of a session in, and return its phases."""
        alike = self._alike[session.instance, currency]
        phases: defaultdict[Phase, _Tally] = defaultdict(_Tally)
        engine_of = self._engines[session.id].get
        known = session.phase_columns.between(self._begin, self._end)
        worked = [_edges(batch, session) for batch in batches]
        for day, in_batch, columns in self._cuts(known, worked):
            for (phase, run), tally in _tallies(columns, costing).items():
                phases[phase].add(tally)
                alike[day.date, phase, engine_of(run), in_batch].add(tally)
            self._count_busy(day, columns)
        return phases

    def _count_busy(self, day: Day, columns: PhaseColumns) -> None:
        for phase, begin, end in zip(columns.phases, columns.edges, columns.edges[1:], strict=False):
            if phase is Phase.BUSY:
                self.busy.add(day, begin, end)

    def _count_rest(
        self, session: Session, currency: str | None, micros: int, phases: defaultdict[Phase, _Tally]
    ) -> None:
        # A session of no length may cost something all the same: the least that its provider charges.
        if micros and session.phase_columns.phases:
            day, phase = self._days.of(microseconds_of(session.started_at)), session.phase_columns.phases[0]
            for tally in phases[phase], self._alike[session.instance, currency][day.date, phase, None, False]:
                tally.micros += micros

    def _cuts(self, known: PhaseColumns, worked: Sequence[_Edges]) -> Iterator[tuple[Day, bool, PhaseColumns]]:
        """Yield what is known of a session in pieces that lie in one day, and in a batch or outside of all."""
        if not known.phases:
            return
        first, last = known.edges[0], known.edges[-1]
        days = self._days.starts_between(first, last)
        if not days and not worked:  # most
            yield self._days.of(first), False, known
            return
        cuts = {edge for edges in worked for edge in edges if first < edge < last}
        for begin, end in pairwise(sorted({first, *days, *cuts, last})):
            in_batch = any(start <= begin and end <= stop for start, stop in worked)
            yield self._days.of(begin), in_batch, known.between(begin, end)

    def slices(self) -> tuple[Slice, ...]:
        """Return all that was counted in, by day and phase."""
        return tuple(
            Slice(
                day=day,
                phase=phase,
                engine=engine,
                instance=instance,
                in_batch=in_batch,
                currency=currency,
                length=length_of(tally.length),
                cost_micros=tally.micros,
            )
            for (instance, currency), alike in self._alike.items()
            for (day, phase, engine, in_batch), tally in alike.items()
        )


class _Days:
    """The local days of a period, to find an instant's, in microseconds since 1970."""

    def __init__(self, period: Period) -> None:
        self._days = period.days
        self._starts = [microseconds_of(day.started_at) for day in self._days]

    def of(self, instant: int) -> Day:
        return self._days[max(bisect_right(self._starts, instant) - 1, 0)]

    def starts_between(self, first: int, last: int) -> Sequence[int]:
        return self._starts[bisect_right(self._starts, first) : bisect_left(self._starts, last)]


def _edges(batch: Batch, session: Session) -> _Edges:
    """Return from when to when the batch was at work; one that still is, as far as its session is known."""
    until = batch.ended_at or max(batch.started_at, session.known_until)
    return microseconds_of(batch.started_at), microseconds_of(until)


def _tallies(columns: PhaseColumns, costing: Costing) -> Mapping[tuple[Phase, int | None], _Tally]:
    """Return what each phase and engine run came to."""
    tallies: defaultdict[tuple[Phase, int | None], _Tally] = defaultdict(_Tally)
    edges, paid = columns.edges, costing(columns.edges)
    lengths, costs = map(sub, edges[1:], edges), map(sub, paid[1:], paid)
    for kind, length, micros in zip(zip(columns.phases, columns.runs, strict=True), lengths, costs, strict=True):
        tally = tallies[kind]
        tally.length += length
        tally.micros += micros
    return tallies


def _cost(costing: Costing | None, begin: int, end: int) -> int | None:
    if costing is None:
        return None
    before, after = costing((begin, end))
    return after - before


def _nothing(instants: Sequence[int]) -> Sequence[int]:
    """Cost nothing, for all that is known: a session without a price."""
    return [0] * len(instants)


def _batch_figure(
    batch: Batch, session: Session, currency: str | None, costing: Costing | None, period: Period
) -> BatchFigure:
    first, last = microseconds_of(period.started_at), microseconds_of(period.ended_at)
    begin, end = (min(max(edge, first), last) for edge in _edges(batch, session))
    return BatchFigure(
        name=batch.name,
        session_id=session.id,
        started_at=batch.started_at,
        length=length_of(end - begin),
        currency=currency,
        cost_micros=_cost(costing, begin, end),
        requests=batch.requests,
        failed_requests=batch.failed_requests,
        prompt_tokens=batch.prompt_tokens,
        generation_tokens=batch.generation_tokens,
        outcome=batch.outcome,
    )


def _clock_hours(period: Period, until: datetime) -> Mapping[WeekHour, timedelta]:
    hours = HoursOfWeek(period.zone)
    for day in period.days:
        hours.add(day, microseconds_of(day.started_at), microseconds_of(min(day.ended_at, until)))
    return hours.lengths


def _usage(hours: Iterable[UsageHour], period: Period, rows: Mapping[int, SessionFigure]) -> tuple[Usage, ...]:
    days = _Days(period)
    day_of = cache(lambda hour_at: days.of(microseconds_of(hour_at)).date)
    counts: defaultdict[tuple[date, str, Instance, str | None], list[int]] = defaultdict(lambda: [0, 0, 0])
    for hour in hours:
        row = rows.get(hour.session_id)
        if row is not None:
            found = counts[(day_of(hour.hour_at), hour.model, row.instance, row.currency)]
            found[0] += hour.requests
            found[1] += hour.prompt_tokens
            found[2] += hour.generation_tokens
    return tuple(
        Usage(
            day=day,
            model=model,
            instance=instance,
            currency=currency,
            requests=requests,
            prompt_tokens=prompt_tokens,
            generation_tokens=generation_tokens,
        )
        for (day, model, instance, currency), (requests, prompt_tokens, generation_tokens) in counts.items()
    )


def _cached(hours: Iterable[CachedHour], rows: Mapping[int, SessionFigure]) -> tuple[Cached, ...]:
    counts: defaultdict[tuple[str, str | None], Counter[str]] = defaultdict(Counter)
    for hour in hours:
        row = rows.get(hour.session_id)
        if row is not None:
            counts[hour.model, row.currency].update({name: getattr(hour, name) for name in _CACHED})
    return tuple(
        Cached(model=model, currency=currency, **{name: found[name] for name in _CACHED})
        for (model, currency), found in sorted(counts.items(), key=str)
    )


def _standing(
    charges: Iterable[StandingCharge], period: Period, until: datetime, sessions: Iterable[Session]
) -> Iterator[StandingFigure]:
    up = [(session.started_at, session.known_until) for session in sessions]
    for charge in charges:
        so_far = standing_cost(charge, period.started_at, until, period.zone, up)
        left = standing_cost(charge, until, period.ended_at, period.zone, up)
        if so_far or left:
            yield StandingFigure(charge=charge, cost_micros=so_far, left_micros=left)


def _is_in(session: Session, period: Period) -> bool:
    # One that has just begun has no length yet, but belongs to the period.
    begin, end = period.started_at, period.ended_at
    return session.started_at < end and (session.known_until > begin or session.started_at >= begin)


def _by_session(batches: Iterable[Batch]) -> Mapping[int, Sequence[Batch]]:
    found: defaultdict[int, list[Batch]] = defaultdict(list)
    for batch in batches:
        found[batch.session_id].append(batch)
    return found
