"""The charts of a period: what each day cost, and when the GPUs were used."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.reports.charts.daily_cost import DayCost, daily_cost_chart
from costctl.reports.charts.use import WeekUse, use_chart
from costctl.reports.figures import NOTHING
from costctl.reports.summary import part_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from costctl.domain.sessions import Phase
    from costctl.reports.figures import Report
    from costctl.reports.hours import WeekHour
    from costctl.reports.outline import Chart
    from costctl.reports.wording import Wording

_DAYS, _HOURS = range(7), range(24)


def period_charts(report: Report, words: Wording) -> Iterator[Chart]:
    """Yield the daily cost in each currency, and the use by weekday and hour."""
    for total in report.totals:
        yield daily_cost_chart(_day_costs(report, total.currency), currency=total.currency, words=words)
    yield use_chart(_week_use(report), words=words)


def _day_costs(report: Report, currency: str) -> list[DayCost]:
    by_day: defaultdict[date, Counter[Phase]] = defaultdict(Counter)
    for piece in report.slices:
        if piece.currency == currency:
            by_day[piece.day][piece.phase] += piece.cost_micros
    return [DayCost(day=day.date, phase_micros=by_day[day.date]) for day in report.period.days]


def _week_use(report: Report) -> WeekUse:
    """Return how busy the machines were, of all the time that they could have been."""
    machines = len({row.instance.machine for row in report.rows})
    return WeekUse(busy=tuple(tuple(_share(report, (day, hour), machines) for hour in _HOURS) for day in _DAYS))


def _share(report: Report, hour: WeekHour, machines: int) -> Fraction:
    possible = report.clock_hours.get(hour, NOTHING) * machines
    return min(part_of(report.busy_hours.get(hour, NOTHING), possible), Fraction(1))
