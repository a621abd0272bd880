"""Money: integer micro-units of a currency, and the one place where cost is rounded.

A micro-unit is a millionth of the currency's unit. Cost accrues from a session's start; the cost of any stretch inside
it is the difference of two accrued amounts, so stretches that partition a session always sum to the session exactly.
Amounts are kept as exact fractions until `_halves_to_even` (or `_rounded`, where a rule rounds up): only there does a
fraction become micro-units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import accumulate, pairwise, repeat
from typing import TYPE_CHECKING

from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

MICRO = 1_000_000
_MICROSECONDS_PER_HOUR = 3_600_000_000
_MICROSECOND = timedelta(microseconds=1)
_NOTHING = timedelta(0)
_PRICE = re.compile(
    r"\s*(?P<amount>[^\s/A-Za-z]+)\s*(?P<currency>[A-Za-z]{3})\s*/\s*(?:h|hr|hour)\s*", re.IGNORECASE | re.ASCII
)
_AMOUNT = re.compile(r"[+-]?\d{1,30}(\.\d{0,30})?([eE][+-]?\d{1,2})?", re.ASCII)  # AWS writes 6.0E-10
_CURRENCY = re.compile("[A-Z]{3}")
_HIGHEST = Decimal(100_000)
_LARGEST = Decimal(10**12)


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """What an hour of the instance costs, in micro-units of `currency`, and who said so when."""

    micros_per_hour: int
    currency: str
    source: str
    dated: datetime

    def __post_init__(self) -> None:
        if type(self.micros_per_hour) is not int:
            raise TypeError(f"a price is counted in whole micro-units, not {self.micros_per_hour!r}")
        if self.micros_per_hour <= 0:
            raise BadValueError("a price is more than zero; leave it out if it is unknown")
        if not _CURRENCY.fullmatch(self.currency):
            raise ValueError(f"a currency is three capital letters, not {self.currency!r}")
        if self.dated.tzinfo is None:
            raise ValueError("a price's date needs a time zone")

    @property
    def per_hour(self) -> Decimal:
        """The amount in whole units of the currency."""
        return Decimal(self.micros_per_hour) / MICRO

    def __str__(self) -> str:
        return f"{format_amount(self.micros_per_hour)} {self.currency}/h"


def parse_price(text: str, *, source: str, dated: datetime) -> Price:
    """Return the price written as `1.8 CNY/h`.

    Raises:
        BadValueError: another form, not a positive finite number, or more than six decimals.
    """
    match = _PRICE.fullmatch(text)
    if match is None:
        raise BadValueError(f"{text!r} is not a price: write amount, currency and '/h', like '1.8 CNY/h'")
    try:
        amount = Decimal(match["amount"])
    except InvalidOperation:
        raise BadValueError(f"{match['amount']!r} in the price {text!r} is not a number") from None
    if not amount.is_finite() or not 0 < amount <= _HIGHEST:
        raise BadValueError(f"the price {text!r} must be more than 0 and at most {_HIGHEST} an hour")
    micros = amount * MICRO
    if micros != micros.to_integral_value():
        raise BadValueError(f"the price {text!r} has more than six decimals")
    return Price(micros_per_hour=int(micros), currency=match["currency"].upper(), source=source, dated=dated)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounding:
    """To what an exact amount is rounded: a multiple of `quantum_micros`, half to even or always up."""

    quantum_micros: int = 1
    up: bool = False

    def __post_init__(self) -> None:
        if self.quantum_micros < 1:
            raise BadValueError("the smallest amount that is charged is more than zero")


TO_MICRO_UNITS = Rounding()


def accrued(price: Price, elapsed: timedelta) -> int:
    """Return the micro-units that `elapsed` since a session's start has cost, rounded half to even.

    Raises:
        ValueError: it is negative.
    """
    if elapsed < _NOTHING:
        raise ValueError("cost accrues forwards only")
    return _nearest(price.micros_per_hour * (elapsed // _MICROSECOND), _MICROSECONDS_PER_HOUR)


def accrued_at(price: Price, elapsed: Iterable[int]) -> list[int]:
    """Return what `accrued` does for each of these lengths, in microseconds and none of them negative."""
    twice, an_hour = 2 * price.micros_per_hour, _MICROSECONDS_PER_HOUR
    return _halves_to_even([twice * microseconds + an_hour for microseconds in elapsed], 2 * an_hour)


def charged(stretches: Iterable[tuple[Price, timedelta]], rounding: Rounding = TO_MICRO_UNITS) -> int:
    """Return the micro-units that stretches at prices of one currency cost together, rounded once.

    Raises:
        ValueError: a stretch is negative.
    """
    exact = 0
    for price, length in stretches:
        if length < _NOTHING:
            raise ValueError("cost accrues forwards only")
        exact += price.micros_per_hour * (length // _MICROSECOND)
    return _rounded(exact, _MICROSECONDS_PER_HOUR, rounding)


def share(micros: int, part: timedelta, whole: timedelta) -> int:
    """Return what of `micros` falls to the first `part` of a stretch that is `whole` long: all or nothing beyond it.

    Shares are cumulative: a stretch from a to b gets the difference of two, so that stretches add up exactly.
    """
    return share_at(micros, part // _MICROSECOND, whole // _MICROSECOND)


def share_at(micros: int, part: int, whole: int) -> int:
    """Return what `share` does, for lengths in microseconds."""
    if part <= 0:
        return 0
    return micros if part >= whole else _nearest(micros * part, whole)


def split(micros: int, weights: Sequence[int]) -> list[int]:
    """Return `micros` split by weights that are not all zero; the parts add up exactly (cumulative rounding).

    Raises:
        ValueError: a weight is negative, or none is positive.
    """
    if min(weights, default=0) < 0 or not sum(weights):
        raise ValueError("weights are not negative, and not all nothing")
    whole = sum(weights)
    reached = [_rounded(micros * weight, whole, TO_MICRO_UNITS) for weight in accumulate(weights, initial=0)]
    return [after - before for before, after in pairwise(reached)]


def to_micro_units(exact: Fraction) -> int:
    """Return the micro-units nearest to an exact amount of them, half to even."""
    return _rounded(exact.numerator, exact.denominator, TO_MICRO_UNITS)


def parse_micros(text: str, rounding: Rounding | None = None) -> int:
    """Return the micro-units of an amount written as plain decimal text, rounded if there is a `rounding`.

    Raises:
        BadValueError: not a number, beyond all reason, or finer than a micro-unit where nothing is rounded.
    """
    if not _AMOUNT.fullmatch(text.strip()):
        raise BadValueError(f"{text!r} is not an amount: write it like 12.34")
    amount = Decimal(text.strip())
    if abs(amount) > _LARGEST:
        raise BadValueError(f"{text!r} is not an amount between -{_LARGEST} and {_LARGEST}")
    numerator, denominator = amount.as_integer_ratio()
    if rounding is None and numerator * MICRO % denominator:
        raise BadValueError(f"the amount {text!r} has more than six decimals")
    return _rounded(numerator * MICRO, denominator, rounding or TO_MICRO_UNITS)


def parse_currency(text: str) -> str:
    """Return the currency written as three letters, like USD.

    Raises:
        BadValueError: another form.
    """
    currency = text.strip().upper()
    if not _CURRENCY.fullmatch(currency):
        raise BadValueError(f"{text!r} is not a currency: write three letters, like USD")
    return currency


def _rounded(numerator: int, denominator: int, rounding: Rounding) -> int:
    """Return the multiple of the quantum nearest to a fraction (or the one above it), in micro-units."""
    denominator *= rounding.quantum_micros
    whole = -(-numerator // denominator) if rounding.up else _nearest(numerator, denominator)
    return whole * rounding.quantum_micros


def _nearest(numerator: int, denominator: int) -> int:
    """Return the whole number nearest to a fraction, half to even."""
    return _halves_to_even((2 * numerator + denominator,), 2 * denominator)[0]


def _halves_to_even(with_half: Iterable[int], denominator: int) -> list[int]:
    """Return fractions to which a half was added rounded down: what was a half leaves no rest, and goes to the even."""
    return [whole if rest else whole - whole % 2 for whole, rest in map(divmod, with_half, repeat(denominator))]


def format_amount(micros: int, *, decimals: int | None = None) -> str:
    """Return micro-units as plain decimal text: all digits that matter (at least two), or rounded to `decimals`."""
    if decimals is not None:
        return f"{Decimal(micros) / MICRO:.{decimals}f}"
    whole, fraction = divmod(abs(micros), MICRO)
    digits = f"{fraction:06}".rstrip("0")
    return f"{'-' if micros < 0 else ''}{whole}.{digits:0<2}"
