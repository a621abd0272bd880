"""What a month will have cost: its complete days carried on, with a range.

The days are taken as draws from one distribution, or from one per weekday once there are two full weeks. With n days of
mean m and spread s (n - 1 degrees of freedom), r further days cost r x m, and 80 % of the time they lie within
t x s x sqrt(r + r^2 / n) of it: the spread of the days to come and that of the mean itself. By weekday the same holds
of each weekday's days, with one spread of all around their weekdays' means (n - 7 degrees of freedom).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from fractions import Fraction
from math import isqrt
from typing import TYPE_CHECKING

from costctl.domain.money import to_micro_units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FEWEST_DAYS = 3
TWO_WEEKS = 14
CONFIDENCE = Fraction(80, 100)
# Student's t below which 90 % lie, so that 80 % lie within it to both sides, for 1, 2, 3 ... degrees of freedom:
# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2. Beyond 30 the last one holds, which errs to the wide side.
_QUANTILES_IN_THOUSANDTHS = (
    *(3078, 1886, 1638, 1533, 1476, 1440, 1415, 1397, 1383, 1372, 1363, 1356, 1350, 1345, 1341),
    *(1337, 1333, 1330, 1328, 1325, 1323, 1321, 1319, 1318, 1316, 1315, 1314, 1313, 1311, 1310),
)


class Method(StrEnum):
    """What the days to come are taken to be like."""

    MEAN = "mean of the complete days"
    WEEKDAYS = "mean of the complete days of each weekday"


@dataclass(frozen=True, kw_only=True, slots=True)
class MonthToDate:
    """What a month has cost so far in one currency, today included."""

    currency: str
    complete_days_micros: tuple[int, ...]
    """What sessions cost on each day of the month that the ledger knows, oldest first; the last one is yesterday."""
    today: date
    today_micros: int
    left_of_today: Fraction
    last_day: date
    standing_micros: int = 0
    """What standing charges have come to so far."""
    standing_left_micros: int = 0
    """What they will still come to: known, so without a range."""

    def __post_init__(self) -> None:
        standing = (self.standing_micros, self.standing_left_micros)
        if min(*self.complete_days_micros, self.today_micros, *standing) < 0:
            raise ValueError("costs are nothing or more")
        if not 0 <= self.left_of_today <= 1 or self.today > self.last_day:
            raise ValueError("today is a day of the month, and none or all of it may be left")

    @property
    def spent_micros(self) -> int:
        """All that is spent already."""
        return sum(self.complete_days_micros) + self.today_micros + self.standing_micros

    @property
    def days_left(self) -> Fraction:
        """How many days are left, with the rest of today."""
        return (self.last_day - self.today).days + self.left_of_today


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What the month will have cost: the expected amount, and the range in which it lies 80 % of the time."""

    spent_micros: int
    expected_micros: int
    low_micros: int
    """Never below what is spent or already known to be charged."""
    high_micros: int
    method: Method


def forecast(so_far: MonthToDate) -> Forecast | None:
    """Return the forecast of the month, or None if there are fewer than three complete days to go by."""
    count = len(so_far.complete_days_micros)
    if count < FEWEST_DAYS:
        return None
    method = Method.WEEKDAYS if count >= TWO_WEEKS else Method.MEAN
    known = so_far.spent_micros + so_far.standing_left_micros
    coming, margin = _coming(so_far, date.weekday if method is Method.WEEKDAYS else _any_day)
    return Forecast(
        spent_micros=so_far.spent_micros,
        expected_micros=known + to_micro_units(coming),
        low_micros=known + max(0, to_micro_units(coming - margin)),
        high_micros=known + to_micro_units(coming + margin),
        method=method,
    )


def _coming(so_far: MonthToDate, kind: Callable[[date], int]) -> tuple[Fraction, Fraction]:
    """Return what the days to come are expected to cost, and how far they may lie off to either side."""
    seen = _seen(so_far, kind)
    left = _left(so_far, kind)
    means = {group: Fraction(sum(costs), len(costs)) for group, costs in seen.items()}
    squares = sum(((micros - means[group]) ** 2 for group in seen for micros in seen[group]), Fraction(0))
    freedom = len(so_far.complete_days_micros) - len(means)
    certainty = sum((days + days**2 / len(seen[group]) for group, days in left.items()), Fraction(0))
    expected = sum((days * means[group] for group, days in left.items()), Fraction(0))
    return expected, _quantile(freedom) * _root(squares / freedom * certainty)


def _seen(so_far: MonthToDate, kind: Callable[[date], int]) -> Mapping[int, list[int]]:
    """Return the costs of the complete days by their kind."""
    seen = defaultdict(list)
    for ago, micros in enumerate(reversed(so_far.complete_days_micros), 1):
        seen[kind(so_far.today - timedelta(days=ago))].append(micros)
    return seen


def _left(so_far: MonthToDate, kind: Callable[[date], int]) -> Mapping[int, Fraction]:
    """Return how many days of each kind are to come, with the rest of today."""
    left = defaultdict(Fraction, {kind(so_far.today): so_far.left_of_today})
    for ahead in range(1, (so_far.last_day - so_far.today).days + 1):
        left[kind(so_far.today + timedelta(days=ahead))] += 1
    return left


def _any_day(day: date) -> int:  # noqa: ARG001 - the shape of date.weekday
    return 0


def _quantile(freedom: int) -> Fraction:
    known = len(_QUANTILES_IN_THOUSANDTHS)
    return Fraction(_QUANTILES_IN_THOUSANDTHS[min(freedom, known) - 1], 1000)


def _root(value: Fraction) -> Fraction:
    """Return the root to a thousandth; values here are squares of micro-units."""
    return Fraction(isqrt(int(value * 1_000_000)), 1_000)
