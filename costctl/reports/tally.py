"""From sessions to the figures of a period: one pass over their phases, each cut where a day or a batch begins or ends.

A stretch costs what its session has cost up to its end less what it has cost up to its beginning; so whatever the
cuts are, the stretches sum to the session.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from costctl.domain.sessions import Phase
from costctl.domain.standing import standing_cost
from costctl.reports.figures import (
    NOTHING,
    BatchFigure,
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
    from costctl.domain.sessions import Costing, Instance, PhaseSpan, Session
    from costctl.domain.standing import StandingCharge
    from costctl.ledger.values import Batch, GpuUse, RunFact, UsageHour
    from costctl.reports.hours import WeekHour
    from costctl.reports.served import Served

    # What pieces of sessions are alike in: day, phase, engine, and whether a batch was worked on.
    _Kind = tuple[date, Phase, Served | None, bool]
    # What a session is paid in (None if its price is unknown), and what its stretches cost.
    Priced = tuple[str | None, Costing]


_PHASES = tuple(Phase)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the ledger knows of the sessions that overlap a period."""

    sessions: Sequence[Session]
    runs: Sequence[RunFact] = ()
    usage: Sequence[UsageHour] = ()
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
    return Report(
        period=period,
        known_until=known_until,
        rows=rows,
        slices=counting.slices(),
        usage=_usage(facts.usage, period, {row.session_id: row for row in rows}),
        batches=tuple(counting.batches),
        runs=tuple(facts.runs),
        gpu_use=tuple(facts.gpu_use),
        busy_hours=counting.busy.lengths,
        clock_hours=_clock_hours(period, known_until),
        standing=tuple(_standing(standing, period, known_until, sessions)),
    )


class _Tally:
    """Time and money that add up."""

    __slots__ = ("length", "micros")

    def __init__(self) -> None:
        self.length = NOTHING
        self.micros = 0

    def add(self, length: timedelta, micros: int) -> None:
        self.length += length
        self.micros += micros


class _Counting:
    """The pass over all sessions."""

    def __init__(self, period: Period, facts: Facts) -> None:
        self._period = period
        self._days = _Days(period)
        self._engines = {(run.session_id, run.number): served_by(run.model, run.command) for run in facts.runs}
        self._batches_of = _by_session(facts.batches)
        self._alike: defaultdict[tuple[Instance, str | None], defaultdict[_Kind, _Tally]]
        self._alike = defaultdict(lambda: defaultdict(_Tally))
        self.batches: list[BatchFigure] = []
        self.busy = HoursOfWeek(period.zone)

    def row(self, session: Session, currency: str | None, cost: Costing) -> SessionFigure:
        """Return the row of a session, and count it in."""
        begin, end = self._period.started_at, self._period.ended_at
        batches = self._batches_of.get(session.id, ())
        self.batches.extend(_batch_figure(batch, session, currency, cost, self._period) for batch in batches)
        phases = self._count(session, currency, cost, batches)
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
            cost_micros=cost(begin, end),
            phases={
                phase: PhaseFigure(phases[phase].length, None if currency is None else phases[phase].micros)
                for phase in _PHASES
                if phase in phases
            },
            rule=session.rule.name if session.rule else None,
        )

    def _count(
        self, session: Session, currency: str | None, cost: Costing, batches: Sequence[Batch]
    ) -> Mapping[Phase, _Tally]:
        """Count all pieces of a session in, and return its phases."""
        begin, end = self._period.started_at, self._period.ended_at
        alike, phases = self._alike[session.instance, currency], defaultdict[Phase, _Tally](_Tally)
        paid = cost(None, begin) or 0
        for span in session.spans(begin, end):
            engine = self._engines.get((session.id, span.run)) if span.run else None
            for day, piece_begin, piece_end, in_batch in self._cuts(span, batches):
                length, reached = piece_end - piece_begin, cost(None, piece_end) or 0
                phases[span.phase].add(length, reached - paid)
                alike[day.date, span.phase, engine, in_batch].add(length, reached - paid)
                paid = reached
                if span.phase is Phase.BUSY:
                    self.busy.add(day, piece_begin, piece_end)
        # A session of no length may cost something all the same: the least that its provider charges.
        rest = (cost(None, end) or 0) - paid
        if rest and session.phases:
            day, phase = self._days.of(max(session.started_at, begin)), session.phases[0].phase
            phases[phase].add(NOTHING, rest)
            alike[day.date, phase, None, False].add(NOTHING, rest)
        return phases

    def _cuts(self, span: PhaseSpan, batches: Sequence[Batch]) -> Iterable[tuple[Day, datetime, datetime, bool]]:
        days = self._days.cut(span.started_at, span.ended_at)
        if not batches:
            return [(*piece, False) for piece in days]
        return [(day, *piece) for day, begin, end in days for piece in _cut_by_batches(begin, end, batches)]

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
                length=tally.length,
                cost_micros=tally.micros,
            )
            for (instance, currency), alike in self._alike.items()
            for (day, phase, engine, in_batch), tally in alike.items()
        )


class _Days:
    """The local days of a period, to find an instant's."""

    def __init__(self, period: Period) -> None:
        self._days = period.days
        self._starts = [day.started_at for day in self._days]
        self._last = self._days[0]  # most instants lie in the same day as the one before

    def of(self, instant: datetime) -> Day:
        if not self._last.started_at <= instant < self._last.ended_at:
            self._last = self._days[bisect_right(self._starts, instant) - 1]
        return self._last

    def cut(self, begin: datetime, end: datetime) -> Sequence[tuple[Day, datetime, datetime]]:
        day = self.of(begin)
        if end <= day.ended_at:
            return ((day, begin, end),)
        return ((day, begin, day.ended_at), *self.cut(day.ended_at, end))


def _cut_by_batches(
    begin: datetime, end: datetime, batches: Sequence[Batch]
) -> Iterator[tuple[datetime, datetime, bool]]:
    edges = sorted({begin, end, *(edge for batch in batches for edge in _edges(batch) if begin < edge < end)})
    for first, last in pairwise(edges):
        yield first, last, any(batch.started_at <= first and last <= _edges(batch)[1] for batch in batches)


def _edges(batch: Batch) -> tuple[datetime, datetime]:
    # Of a batch whose end is unknown nothing can be said but that it began.
    return batch.started_at, batch.ended_at or batch.started_at


def _batch_figure(batch: Batch, session: Session, currency: str | None, cost: Costing, period: Period) -> BatchFigure:
    begin, end = (min(max(edge, period.started_at), period.ended_at) for edge in _edges(batch))
    return BatchFigure(
        name=batch.name,
        session_id=session.id,
        started_at=batch.started_at,
        length=end - begin,
        currency=currency,
        cost_micros=cost(begin, end),
        requests=batch.requests,
        failed_requests=batch.failed_requests,
        prompt_tokens=batch.prompt_tokens,
        generation_tokens=batch.generation_tokens,
    )


def _clock_hours(period: Period, until: datetime) -> Mapping[WeekHour, timedelta]:
    hours = HoursOfWeek(period.zone)
    for day in period.days:
        hours.add(day, day.started_at, min(day.ended_at, until))
    return hours.lengths


def _usage(hours: Iterable[UsageHour], period: Period, rows: Mapping[int, SessionFigure]) -> tuple[Usage, ...]:
    days = _Days(period)
    counts: defaultdict[tuple[date, str, Instance, str | None], list[int]] = defaultdict(lambda: [0, 0, 0])
    for hour in hours:
        row = rows.get(hour.session_id)
        if row is not None:
            found = counts[(days.of(hour.hour_at).date, hour.model, row.instance, row.currency)]
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
