"""Periods as people type them: `--month 2026-01`, `--week 2026-W03`, `--from 2026-01-05`, `--last 30d` and the like."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from costctl.domain.durations import parse_duration
from costctl.domain.periods import Period, PeriodKind, calendar_period, midnight, period_between
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_WEEK = re.compile(r"(\d{4})-W(\d{2})", re.ASCII | re.IGNORECASE)
_YEAR = re.compile(r"\d{4}", re.ASCII)
_YEARS = range(1971, 9999)  # beyond these, the edges of a period in UTC may not be dates
_DAY = timedelta(days=1)


def read_period(
    *,
    month: str | None = None,
    week: str | None = None,
    year: str | None = None,
    since: str | None = None,
    until: str | None = None,
    last: str | None = None,
    now: datetime,
    zone: ZoneInfo,
) -> Period:
    """Return the one period that was asked for as people type it; the present month, if none was.

    `since` alone lasts until now. Dates are whole days, the last one included. `last` is exactly so long before now.

    Raises:
        BadValueError: more than one, not understood, empty, or not begun yet.
    """
    asked = {"--month": month, "--week": week, "--year": year, "--from": since, "--last": last}
    given = [option for option, text in asked.items() if text is not None]
    if until is not None and since is None:
        raise BadValueError(f"--to {until} needs a beginning: give --from as well")
    if len(given) > 1:
        raise BadValueError(f"{' and '.join(given)} name different periods: give one of them")
    if since is not None:
        return _parse_range(since, until, now, zone)
    if last is not None:
        return _parse_last(last, now, zone)
    for text, parse in ((month, parse_month), (week, _parse_week), (year, _parse_year)):
        if text is not None:
            return _begun(parse(text, zone), now)
    return calendar_period(PeriodKind.MONTH, now.astimezone(zone).date(), zone)


def parse_month(text: str, zone: ZoneInfo) -> Period:
    """Return the month written as 2026-01. Raises BadValueError."""
    match = _MONTH.fullmatch(text.strip())
    year, number = (int(match[1]), int(match[2])) if match else (0, 0)
    if year not in _YEARS or not 1 <= number <= 12:  # noqa: PLR2004 - the months of a year
        raise BadValueError(f"{text!r} is not a month: write it like 2026-01")
    return calendar_period(PeriodKind.MONTH, date(year, number, 1), zone)


def parse_since(text: str, *, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant that `text` names: a date or time in `zone`, or a duration before `now`.

    Raises:
        BadValueError: none of these.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        pass
    else:
        return found if found.tzinfo else found.replace(tzinfo=zone)
    try:
        return now - timedelta(seconds=parse_duration(text))
    except BadValueError:
        message = f"{text!r} is not a point in time: write a date like 2026-01-31, or a duration like 7d"
        raise BadValueError(message) from None


def _parse_week(text: str, zone: ZoneInfo) -> Period:
    match = _WEEK.fullmatch(text.strip())
    year, number = (int(match[1]), int(match[2])) if match else (0, 0)
    if year not in _YEARS or number == 0:
        raise BadValueError(f"{text!r} is not a week: write it like 2026-W03")
    try:
        monday = date.fromisocalendar(year, number, 1)
    except ValueError:
        last = date(year, 12, 28).isocalendar().week  # always in the last one
        raise BadValueError(f"{text!r} is not a week: the last one of {year} is {year}-W{last}") from None
    return calendar_period(PeriodKind.WEEK, monday, zone)


def _parse_year(text: str, zone: ZoneInfo) -> Period:
    if not _YEAR.fullmatch(text.strip()) or int(text) not in _YEARS:
        raise BadValueError(f"{text!r} is not a year: write it like 2026")
    return calendar_period(PeriodKind.YEAR, date(int(text), 1, 1), zone)


def _parse_range(since: str, until: str | None, now: datetime, zone: ZoneInfo) -> Period:
    begin = _edge(since, zone)
    if begin >= now:
        raise BadValueError(f"--from {since} has not begun: it is now {now.astimezone(zone):%Y-%m-%d %H:%M}")
    end = now if until is None else _edge(until, zone, is_end=True)
    if end <= begin:
        raise BadValueError(f"nothing lies between --from {since} and --to {until}: --to has to be later")
    return period_between(begin, end, zone)


def _parse_last(text: str, now: datetime, zone: ZoneInfo) -> Period:
    end = now.astimezone(UTC)
    begin = end - timedelta(seconds=parse_duration(text))
    return Period(label=f"last {text.strip()}", kind=PeriodKind.LAST, started_at=begin, ended_at=end, zone=zone)


def _begun(period: Period, now: datetime) -> Period:
    if period.started_at > now:
        present = calendar_period(period.kind, now.astimezone(period.zone).date(), period.zone)
        raise BadValueError(f"{period.label} has not begun: the newest {period.kind} is {present.label}")
    return period


def _edge(text: str, zone: ZoneInfo, *, is_end: bool = False) -> datetime:
    """Return the instant of a time, or where a date begins or ends, in UTC."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        found = datetime.min  # noqa: DTZ901 - a year that is refused below
    if found.year not in _YEARS:
        raise BadValueError(f"{text!r} is no date: write it like 2026-01-31, or a time like 2026-01-31T08:00")
    if _is_date(text):
        return midnight(found.date() + _DAY * is_end, zone)
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text.strip())
    except ValueError:
        return False
    return True
