"""Time by weekday and hour, as the clocks of a zone showed it."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from costctl.domain.instants import length_of, microseconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from zoneinfo import ZoneInfo

    from costctl.domain.periods import Day

    # A weekday, Monday is 0, and an hour of it.
    WeekHour = tuple[int, int]

_HOUR = timedelta(hours=1)


class HoursOfWeek:
    """Adds stretches up by the hours of the week that they lie in."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._lengths: defaultdict[WeekHour, int] = defaultdict(int)
        self._hours: dict[date, tuple[Sequence[int], Sequence[WeekHour]]] = {}

    @property
    def lengths(self) -> Mapping[WeekHour, timedelta]:
        """How much time has been added to each hour."""
        return {hour: length_of(length) for hour, length in self._lengths.items()}

    def add(self, day: Day, begin: int, end: int) -> None:
        """Add [begin, end), in microseconds since 1970, which lies in `day`."""
        starts, hours = self._hours.get(day.date) or self._hours_of(day)
        place = bisect_right(starts, begin) - 1
        while begin < end:
            until = min(end, starts[place + 1])
            self._lengths[hours[place]] += until - begin
            begin, place = until, place + 1

    def _hours_of(self, day: Day) -> tuple[Sequence[int], Sequence[WeekHour]]:
        # Stepping in UTC from a full hour is right wherever clocks change by whole hours.
        local = day.started_at.astimezone(self._zone)
        first = day.started_at - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        count = -(-(day.ended_at - first) // _HOUR)
        starts = [first + _HOUR * number for number in range(count + 1)]
        hours = [(day.date.weekday(), start.astimezone(self._zone).hour) for start in starts]
        self._hours[day.date] = found = ([microseconds_of(start) for start in starts], hours)
        return found
