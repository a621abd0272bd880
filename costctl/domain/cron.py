"""Cron expressions, as Debian's cron reads them: five fields, names, ranges, steps, lists, and `@daily`.

Days match if the day of the month *or* the weekday does where both are restricted, else if both do (crontab(5)); a
field that begins with `*` restricts nothing in this sense. Sunday is 0 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from costctl.errors import BadValueError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_RAREST = timedelta(days=8 * 366)
"""A leap day comes after eight years at the latest (from 1896 to 1904, from 2096 to 2104)."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """When it is due by a local clock; each field is the sorted values that match, weekdays from Sunday, 0, on."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either_day: bool
    """Whether one of day and weekday is enough."""

    def __str__(self) -> str:
        return f"cron {self.text}"

    def next_wall(self, after: datetime) -> datetime | None:
        """Return the first matching minute of the local clock after `after` (both naive), None if there is none."""
        day = after.date()
        for _ in range(_RAREST.days):
            if self._on(datetime.combine(day, time())):
                found = self._in_day(datetime.combine(day, time()), after)
                if found is not None:
                    return found
            day += timedelta(days=1)
        return None

    def _on(self, day: datetime) -> bool:
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (by_day or by_weekday if self.either_day else by_day and by_weekday)

    def _in_day(self, day: datetime, after: datetime) -> datetime | None:
        first = after.hour if day.date() == after.date() else 0
        hours = (hour for hour in self.hours if hour >= first)
        moments = (day.replace(hour=hour, minute=minute) for hour in hours for minute in self.minutes)
        return next((moment for moment in moments if moment > after), None)


def parse_cron(text: str) -> Cron:
    """Return the cron expression in `text`.

    Raises:
        BadValueError: it is none, or names a date that never comes.
    """
    words = _MACROS.get(text.strip().lower(), text).split()
    if len(words) != len(_FIELDS):
        raise BadValueError(
            f"{text!r} is not a cron expression: write minute, hour, day, month and weekday, like '0 2 * * *'"
        )
    minutes, hours, days, months, weekdays = (
        _values(word, field, text) for word, field in zip(words, _FIELDS, strict=True)
    )
    cron = Cron(
        text=" ".join(words),
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=tuple(sorted({day % 7 for day in weekdays})),
        either_day=not words[2].startswith("*") and not words[4].startswith("*"),
    )
    if cron.next_wall(datetime(2095, 12, 31)) is None:  # noqa: DTZ001 - before the longest wait for a leap day
        raise BadValueError(f"{text!r} never comes: there is no such date")
    return cron


def _values(word: str, field: _Field, text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({value for part in word.split(",") for value in _part(part, field)}))
    except ValueError as error:
        raise BadValueError(f"{text!r} is not a cron expression: the {field.name} {word!r} {error}") from None


def _part(part: str, field: _Field) -> range:
    span, slash, step_text = part.partition("/")
    step = int(step_text) if slash and step_text.isdecimal() else 1
    if slash and (not step_text.isdecimal() or not step):
        raise ValueError("has a step that is not a number above 0")
    first_text, dash, last_text = span.partition("-")
    if span == "*":
        # All weekdays once: 7 is Sunday again.
        return range(field.first, min(field.last, 6 if field.names is _WEEKDAYS else field.last) + 1, step)
    first = _number(first_text, field)
    last = _number(last_text, field) if dash else field.last if slash else first
    if last < first:
        raise ValueError("is a range that ends before it begins")
    return range(first, last + 1, step)


def _number(text: str, field: _Field) -> int:
    if text.upper() in field.names:
        return field.names.index(text.upper()) + field.first
    if not (text.isascii() and text.isdecimal()) or not field.first <= int(text) <= field.last:
        raise ValueError(f"is not within {field.first} and {field.last}")
    return int(text)
