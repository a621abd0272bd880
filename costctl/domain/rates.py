"""Rates of exchange: dated, as they were given, and amounts converted by them with one rounding.

The rate that holds for a pair of currencies at an instant is the newest dated on or before its local day, given in
either direction: an inverse is used and said to be one. There are no chains through a third currency.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.domain.money import to_micro_units
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date, datetime, tzinfo

    from costctl.domain.sessions import Costing, Session

    Pair = tuple[str, str]

_SMALLEST, _LARGEST = Decimal("1e-9"), Decimal(10**9)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """What one unit of the currency `base` was in `quote` from a day on, and who said so."""

    base: str
    quote: str
    amount: Decimal
    dated: date
    source: str = ""

    def __post_init__(self) -> None:
        if self.base == self.quote:
            raise BadValueError(f"a rate is between two currencies, not {self.base} and {self.quote}")
        if not self.amount.is_finite() or not _SMALLEST <= self.amount <= _LARGEST:
            raise BadValueError(f"the rate {self.amount} is not a number from {_SMALLEST:f} to {_LARGEST}")


@dataclass(frozen=True, kw_only=True, slots=True)
class AppliedRate:
    """A rate as it is used: as given, or its inverse."""

    rate: Rate
    is_inverse: bool = False

    @property
    def pair(self) -> Pair:
        """From which currency it leads to which."""
        rate = self.rate
        return (rate.quote, rate.base) if self.is_inverse else (rate.base, rate.quote)

    @property
    def factor(self) -> Fraction:
        """What one unit comes to, exactly."""
        factor = Fraction(self.rate.amount)
        return 1 / factor if self.is_inverse else factor

    def convert(self, micros: int) -> int:
        """Return `micros` in the other currency, rounded half to even. It grows wherever `micros` does, or stands."""
        return to_micro_units(micros * self.factor)


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """An amount in the currency that was asked for, and the rate it was converted at; None if it was in it already."""

    micros: int
    rate: AppliedRate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """All rates that were given, by pair and in the order of their days, which begin in `zone`."""

    by_pair: Mapping[Pair, tuple[Rate, ...]]
    zone: tzinfo

    @classmethod
    def of(cls, rates: Iterable[Rate], zone: tzinfo) -> Rates:
        """Return `rates`, of which no two are of the same pair and day, put in order."""
        by_pair: defaultdict[Pair, list[Rate]] = defaultdict(list)
        for rate in sorted(rates, key=lambda rate: rate.dated):
            by_pair[rate.base, rate.quote].append(rate)
        return cls(by_pair={pair: tuple(dated) for pair, dated in by_pair.items()}, zone=zone)

    def find(self, base: str, quote: str, at: datetime) -> AppliedRate | None:
        """Return the rate from `base` to `quote` that holds at `at`; on the same day one as given goes first."""
        day = at.astimezone(self.zone).date()
        given = [AppliedRate(rate=rate) for rate in self._newest((base, quote), day)]
        inverse = [AppliedRate(rate=rate, is_inverse=True) for rate in self._newest((quote, base), day)]
        return max(given + inverse, key=lambda applied: applied.rate.dated, default=None)

    def convert(self, micros: int, base: str, quote: str, at: datetime) -> Converted | None:
        """Return an amount of `base` in `quote` by the rate that holds at `at`, None if there is none."""
        if base == quote:
            return Converted(micros=micros, rate=None)
        rate = self.find(base, quote, at)
        return Converted(micros=rate.convert(micros), rate=rate) if rate else None

    def _newest(self, pair: Pair, day: date) -> Iterator[Rate]:
        dated = self.by_pair.get(pair, ())
        place = bisect_right(dated, day, key=lambda rate: rate.dated)
        yield from dated[max(place - 1, 0) : place]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionCosting:
    """What a session costs, in `currency` (both None if it has no price), and the rate if that is converted."""

    costing: Costing | None
    currency: str | None
    rate: AppliedRate | None = None


def converted(costing: Costing, rate: AppliedRate) -> Costing:
    """Return a session's `costing` at `rate`: what accrued is converted, so that stretches still add up exactly."""
    return lambda instants: [rate.convert(micros) for micros in costing(instants)]


def costing_in(session: Session, currency: str | None, rates: Rates) -> SessionCosting:
    """Return how `session` costs in `currency` by the rate of the day it began; else, or without a rate, in its own."""
    own = session.price.currency if session.price else None
    costing = session.costing()
    rate = rates.find(own, currency, session.started_at) if own and currency and own != currency else None
    if rate is None or costing is None:
        return SessionCosting(costing=costing, currency=own)
    return SessionCosting(costing=converted(costing, rate), currency=currency, rate=rate)


@dataclass(frozen=True, kw_only=True, slots=True)
class RateUse:
    """A rate and how often it was used."""

    applied: AppliedRate
    count: int


def rate_uses(used: Iterable[AppliedRate | None]) -> tuple[RateUse, ...]:
    """Return every rate in `used` with how often it is there, by pair and day."""
    counts = Counter(applied for applied in used if applied is not None)
    uses = (RateUse(applied=applied, count=count) for applied, count in counts.items())
    return tuple(sorted(uses, key=lambda use: (use.applied.pair, use.applied.rate.dated)))
