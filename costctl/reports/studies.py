"""From the figures of a period to what is asked of them: idle windows, hosted prices, how the month will end."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.domain.cached import CacheUse
from costctl.domain.forecast import MonthToDate
from costctl.domain.hosted import ModelUse
from costctl.domain.instants import microseconds_of
from costctl.domain.periods import PeriodKind
from costctl.domain.sessions import EndReason, Phase
from costctl.domain.windows import GapEnd, IdleGap
from costctl.reports.figures import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime

    from costctl.domain.comparison import Comparison
    from costctl.domain.hosted import BreakEven
    from costctl.domain.money import Price
    from costctl.domain.periods import Day, Period
    from costctl.domain.rates import RateUse
    from costctl.domain.sessions import Session
    from costctl.domain.windows import WindowStudy
    from costctl.reports.figures import Cached, Part, Report

_MICROSECOND = timedelta(microseconds=1)
_WORK = (Phase.BUSY, Phase.STARTING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Studies:
    """What a report says beyond its own figures."""

    windows: Sequence[WindowStudy] = ()
    cached: Sequence[CacheUse] = ()
    hosted: Sequence[BreakEven] = ()
    months: Sequence[MonthToDate] = ()
    comparison: Comparison | str | None = None
    """Or why it cannot be made."""
    rates: Sequence[RateUse] = ()


def idle_gaps(
    sessions: Iterable[Session], period: Period, price_of: Callable[[Session], Price | None]
) -> Iterator[IdleGap]:
    """Yield the idle times of sessions of known price, as far as they lie in the period."""
    begin, end = microseconds_of(period.started_at), microseconds_of(period.ended_at)
    for session in sessions:
        price = price_of(session)
        if price is None:
            continue
        edges, phases, _ = session.phase_columns.between(begin, end)
        for phase, following, started, ended in zip(phases, (*phases[1:], None), edges, edges[1:], strict=False):
            if phase is Phase.IDLE:
                yield IdleGap(session.id, started, ended - started, price, _gap_end(session, following, period))


def usual_start(report: Report) -> timedelta | None:
    """Return the median of how long engines took to be ready in the period; None if none became so."""
    starts = sorted(run.start for run in report.runs if run.start is not None)
    return starts[len(starts) // 2] if starts else None


def model_uses(report: Report) -> list[ModelUse]:
    """Return what each model was asked for and cost, by currency; time without an engine is not in it."""
    parts = report.parts(lambda piece: (piece.model, piece.currency))
    busy = report.parts(lambda piece: (piece.model, piece.currency, piece.phase))
    tokens: defaultdict[tuple[str, str | None], list[int]] = defaultdict(lambda: [0, 0])
    for use in report.usage:
        found = tokens[use.model, use.currency]
        found[0] += use.prompt_tokens
        found[1] += use.generation_tokens
    return [
        ModelUse(
            model=model,
            prompt_tokens=prompt,
            generated_tokens=generated,
            cost_micros=parts[model, currency].micros.get(currency, 0),
            currency=currency,
            billed=parts[model, currency].length,
            busy=busy[model, currency, Phase.BUSY].length if (model, currency, Phase.BUSY) in busy else NOTHING,
        )
        for (model, currency), (prompt, generated) in sorted(tokens.items(), key=str)
        if currency is not None and (model, currency) in parts
    ]


def cache_uses(report: Report) -> list[CacheUse]:
    """Return what the cache did for each model, beside what the model itself did, by currency."""
    parts = report.parts(lambda piece: (piece.model, piece.currency))
    busy = report.parts(lambda piece: (piece.model, piece.currency, piece.phase))
    worked: Counter[tuple[str, str | None]] = Counter()
    for use in report.usage:
        worked[use.model, use.currency] += use.tokens
    return [_cache_use(cached, parts, busy, worked) for cached in report.cached]


def _cache_use(
    cached: Cached,
    parts: Mapping[tuple[str | None, str | None], Part],
    busy: Mapping[tuple[str | None, str | None, Phase], Part],
    worked: Mapping[tuple[str, str | None], int],
) -> CacheUse:
    model, currency = cached.model, cached.currency
    whole, at_work = parts.get((model, currency)), busy.get((model, currency, Phase.BUSY))
    return CacheUse(
        model=model,
        hits=cached.hits,
        misses=cached.misses,
        prompt_tokens=cached.prompt_tokens,
        generation_tokens=cached.generation_tokens,
        worked_tokens=worked.get((model, currency), 0),
        busy=at_work.length if at_work else NOTHING,
        billed=whole.length if whole else NOTHING,
        currency=currency,
        cost_micros=whole.micros.get(currency, 0) if whole and currency else 0,
    )


def months_to_date(report: Report, *, now: datetime, first_known: date | None) -> list[MonthToDate]:
    """Return the running month by currency; nothing for other periods. Days before `first_known` are not counted."""
    period = report.period
    if period.kind is not PeriodKind.MONTH or not period.is_running(now):
        return []
    today = next(day for day in period.days if day.started_at <= now < day.ended_at)
    begin = max(period.days[0].date, first_known or period.days[0].date)
    known = [day.date for day in period.days if begin <= day.date < today.date]
    daily = report.parts(lambda piece: piece.day)
    return [
        MonthToDate(
            currency=total.currency,
            complete_days_micros=tuple(
                daily[day].micros.get(total.currency, 0) if day in daily else 0 for day in known
            ),
            today=today.date,
            today_micros=daily[today.date].micros.get(total.currency, 0) if today.date in daily else 0,
            left_of_today=_left_of(today, now),
            last_day=period.days[-1].date,
            standing_micros=_standing(report, total.currency),
            standing_left_micros=_standing_left(report, total.currency),
        )
        for total in report.totals
    ]


def _gap_end(session: Session, following: Phase | None, period: Period) -> GapEnd:
    if following in _WORK:
        return GapEnd.WORK
    if following is None and (session.ended_at is None or session.known_until > period.ended_at):
        return GapEnd.OPEN
    return GapEnd.WINDOW if session.end_reason is EndReason.IDLE else GapEnd.STOPPED


def _left_of(day: Day, now: datetime) -> Fraction:
    return Fraction((day.ended_at - now) // _MICROSECOND, (day.ended_at - day.started_at) // _MICROSECOND)


def _standing(report: Report, currency: str) -> int:
    return sum(figure.cost_micros for figure in report.standing if figure.charge.currency == currency)


def _standing_left(report: Report, currency: str) -> int:
    return sum(figure.left_micros for figure in report.standing if figure.charge.currency == currency)
