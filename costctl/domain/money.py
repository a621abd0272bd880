"""Money: integer micro-units of a currency, and the one place where cost is rounded.

A micro-unit is a millionth of the currency's unit. Cost accrues from a session's start; the cost of any stretch inside
it is the difference of two accrued amounts, so stretches that partition a session always sum to the session exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from costctl.errors import BadValueError

MICRO = 1_000_000
_MICROSECONDS_PER_HOUR = 3_600_000_000
_MICROSECOND = timedelta(microseconds=1)
_PRICE = re.compile(
    r"\s*(?P<amount>[^\s/A-Za-z]+)\s*(?P<currency>[A-Za-z]{3})\s*/\s*(?:h|hr|hour)\s*", re.IGNORECASE | re.ASCII
)
_CURRENCY = re.compile("[A-Z]{3}")
_HIGHEST = Decimal(100_000)


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


def accrued(price: Price, elapsed: timedelta) -> int:
    """Return the micro-units that `elapsed` since a session's start has cost, rounded half to even."""
    if elapsed < timedelta(0):
        raise ValueError("cost accrues forwards only")
    whole, rest = divmod(price.micros_per_hour * (elapsed // _MICROSECOND), _MICROSECONDS_PER_HOUR)
    twice = 2 * rest
    round_up = twice > _MICROSECONDS_PER_HOUR or (twice == _MICROSECONDS_PER_HOUR and whole % 2 == 1)
    return whole + round_up


def format_amount(micros: int, *, decimals: int | None = None) -> str:
    """Return micro-units as plain decimal text: all digits that matter (at least two), or rounded to `decimals`."""
    amount = Decimal(micros) / MICRO
    if decimals is not None:
        return f"{amount:.{decimals}f}"
    text = f"{amount:.6f}".rstrip("0")
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<2}"
