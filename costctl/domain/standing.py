"""Standing charges: what is paid by the month for a disk, an address or the like, whether or not a machine is up.

Within a calendar month (of the report's time zone) a charge grows evenly by the second, by cumulative rounding: any
partition of the month sums to the amount exactly, and so do the times with and without a machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from costctl.domain.money import share
from costctl.domain.periods import midnight
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import tzinfo

    Stretch = tuple[datetime, datetime]

_MONTHS = 12


class When(StrEnum):
    """While what a standing charge is made."""

    ALWAYS = "always"
    ON = "on"
    """Only while a machine is up: a volume that costs less then."""
    OFF = "off"
    """Only while none is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StandingCharge:
    """An amount per month; a bound that is a date is midnight in the zone of whoever asks."""

    name: str
    micros_per_month: int
    currency: str
    begins: date | datetime | None = None
    ends: date | datetime | None = None
    when: When = When.ALWAYS

    def __post_init__(self) -> None:
        begins, ends = self.begins, self.ends
        if begins and ends and _instant(ends, UTC) <= _instant(begins, UTC):
            raise BadValueError(f"the standing charge {self.name!r} ends ({ends}) before it begins ({begins})")


def standing_cost(
    charge: StandingCharge, begin: datetime, end: datetime, zone: tzinfo, up: Iterable[Stretch] = ()
) -> int:
    """Return the micro-units of `charge` in [begin, end); `up` is when machines were up."""
    begin = max(begin, _instant(charge.begins, zone)) if charge.begins else begin
    end = min(end, _instant(charge.ends, zone)) if charge.ends else end
    held = _held(charge.when, (begin, end), up)
    return sum(_in_month(charge, month, stretch) for month in _months(begin, end, zone) for stretch in held)


def _in_month(charge: StandingCharge, month: Stretch, stretch: Stretch) -> int:
    first, last = max(month[0], stretch[0]), min(month[1], stretch[1])
    if first >= last:
        return 0
    length = month[1] - month[0]
    amount = charge.micros_per_month
    return share(amount, last - month[0], length) - share(amount, first - month[0], length)


def _held(when: When, whole: Stretch, up: Iterable[Stretch]) -> Sequence[Stretch]:
    if whole[0] >= whole[1]:
        return []
    if when is When.ALWAYS:
        return [whole]
    on = list(_merged((max(begin, whole[0]), min(end, whole[1])) for begin, end in up))
    if when is When.ON:
        return on
    edges = [whole[0], *(edge for stretch in on for edge in stretch), whole[1]]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _merged(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Yield stretches that do not overlap and cover the same time."""
    reached: Stretch | None = None
    for begin, end in sorted(stretch for stretch in stretches if stretch[0] < stretch[1]):
        if reached is None:
            reached = (begin, end)
        elif begin <= reached[1]:
            reached = (reached[0], max(reached[1], end))
        else:
            yield reached
            reached = (begin, end)
    if reached is not None:
        yield reached


def _months(begin: datetime, end: datetime, zone: tzinfo) -> Iterator[Stretch]:
    local = begin.astimezone(zone)
    year, number = local.year, local.month
    while (first := midnight(date(year, number, 1), zone)) < end:
        year, number = year + number // _MONTHS, number % _MONTHS + 1
        yield first, midnight(date(year, number, 1), zone)


def _instant(day: date | datetime, zone: tzinfo) -> datetime:
    if isinstance(day, datetime):
        return day.astimezone(UTC)
    return midnight(day, zone)
