"""Periods: months, weeks, years and other stretches of time, and the local days in them.

A day begins at the first midnight of its date. Where the clocks skip that midnight, it begins with the skip; a date
that is skipped as a whole (Pacific/Apia, 2011-12-30) has no day. So days partition every period, as months do a year.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)
_MORE_THAN_A_MONTH = timedelta(days=31)


class PeriodKind(StrEnum):
    """What a period was asked for as."""

    MONTH = "month"
    WEEK = "week"
    """An ISO week: Monday to Sunday, the first one has the year's first Thursday."""
    YEAR = "year"
    RANGE = "range"
    """From one day or instant to another."""
    LAST = "last"
    """Exactly so long before now."""


_LABELS = {PeriodKind.MONTH: "%Y-%m", PeriodKind.WEEK: "%G-W%V", PeriodKind.YEAR: "%Y"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """The part of a local calendar day that lies in a period; edges in UTC."""

    date: date
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """A stretch of time, [started_at, ended_at) in UTC, with its days in `zone`."""

    label: str
    kind: PeriodKind
    started_at: datetime
    ended_at: datetime
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if self.started_at.tzinfo is not UTC or self.ended_at.tzinfo is not UTC:
            raise ValueError("the edges of a period are in UTC")
        if self.started_at >= self.ended_at:
            raise BadValueError(f"the period {self.label} ends before it begins, or is no time at all")

    @property
    def days(self) -> tuple[Day, ...]:
        """The local calendar days in it, the first and last cut to it: they partition it."""
        return tuple(self._days())

    def is_running(self, now: datetime) -> bool:
        """Return whether `now` lies in it, so that some of it is still to come."""
        return self.started_at <= now < self.ended_at

    def _days(self) -> Iterator[Day]:
        local, begin = self.started_at.astimezone(self.zone).date(), self.started_at
        while begin < self.ended_at:
            end = min(max(midnight(local + _DAY, self.zone), begin), self.ended_at)
            if begin < end:
                yield Day(date=local, started_at=begin, ended_at=end)
            local, begin = local + _DAY, end


def midnight(day: date, zone: tzinfo) -> datetime:
    """Return where `day` begins in `zone`, in UTC."""
    # Of a midnight that comes twice this is the first, of one that is skipped the instant of the skip.
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def calendar_period(kind: PeriodKind, day: date, zone: ZoneInfo) -> Period:
    """Return the month, week or year that `day` lies in."""
    first, following = _calendar_edges(kind, day)
    return Period(
        label=first.strftime(_LABELS[kind]),
        kind=kind,
        started_at=midnight(first, zone),
        ended_at=midnight(following, zone),
        zone=zone,
    )


def period_between(begin: datetime, end: datetime, zone: ZoneInfo) -> Period:
    """Return the period from one instant to another; its label names days if it consists of whole ones."""
    started_at, ended_at = begin.astimezone(UTC), end.astimezone(UTC)
    return Period(
        label=_range_label(started_at, ended_at, zone),
        kind=PeriodKind.RANGE,
        started_at=started_at,
        ended_at=ended_at,
        zone=zone,
    )


def previous(period: Period) -> Period:
    """Return the period before: the calendar's, or one as long by the clock on the wall that ends where this begins."""
    begin, end, zone = period.started_at, period.ended_at, period.zone
    if period.kind in _LABELS:
        return calendar_period(period.kind, (begin - datetime.resolution).astimezone(zone).date(), zone)
    if period.kind is PeriodKind.LAST:
        return period_between(begin - (end - begin), begin, zone)
    local_begin, local_end = (edge.astimezone(zone).replace(tzinfo=None) for edge in (begin, end))
    return period_between((local_begin - (local_end - local_begin)).replace(tzinfo=zone), begin, zone)


def _range_label(begin: datetime, end: datetime, zone: ZoneInfo) -> str:
    """Return whole days as their dates, the last one included, and anything else as times."""
    first, following = begin.astimezone(zone), end.astimezone(zone)
    if (midnight(first.date(), zone), midnight(following.date(), zone)) != (begin, end):
        return f"{first:%Y-%m-%d %H:%M} to {following:%Y-%m-%d %H:%M}"
    final = following.date() - _DAY
    return f"{final}" if first.date() == final else f"{first.date()} to {final}"


def _calendar_edges(kind: PeriodKind, day: date) -> tuple[date, date]:
    if kind is PeriodKind.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + _WEEK
    if kind is PeriodKind.MONTH:
        first = day.replace(day=1)
        return first, (first + _MORE_THAN_A_MONTH).replace(day=1)
    first = day.replace(month=1, day=1)
    return first, first.replace(year=day.year + 1)
