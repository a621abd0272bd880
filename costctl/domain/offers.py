"""Offers: what an hour of an instance costs, where, in which market, and who said so when.

An `Offer` that exists is plausible: no placeholder passes for a price. What is merely doubtful, such as an old price,
is flagged instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from costctl.domain.currencies import is_currency, units_per_dollar
from costctl.domain.money import MICRO, Price, format_amount
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

OLD_AFTER = timedelta(days=180)
"""Clouds change GPU prices about yearly: after half a year a price wants a look."""
_SENTINEL_PER_GPU_HOUR = 500
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?", re.IGNORECASE | re.ASCII)


class Market(StrEnum):
    """On which terms an instance is rented."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"


class Origin(StrEnum):
    """Who says what an offer costs."""

    OWN = "own"
    """The person who pays."""
    LIST = "list"
    """A price list that was imported."""
    CATALOG = "catalog"
    """The catalog that ships with costctl."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """An hourly price of an instance with `gpu_count` GPUs; facts that it does not depend on, or leaves open, are None.

    `since` is the day of a list's or the catalog's price, or the instant from which an own price is valid; None is an
    unknown date, which may be known not to lie before `not_before`.
    """

    gpu: str
    gpu_count: int
    market: Market
    currency: str
    micros_per_hour: int
    origin: Origin
    provider: str | None = None
    instance_type: str | None = None
    region: str | None = None
    since: datetime | None = None
    not_before: datetime | None = None
    source: str = ""
    note: str = ""
    id: int | None = None

    def __post_init__(self) -> None:
        if not self.gpu.strip():
            raise BadValueError("the GPU is missing")
        if self.gpu_count < 1:
            raise BadValueError(f"{self.gpu_count} GPUs: an offer has at least one whole GPU")
        if self.since is not None and self.since.tzinfo is None:
            raise ValueError("an offer's date needs a time zone")
        if self.since is None and self.origin is not Origin.CATALOG:
            raise BadValueError("the date is missing: from when does this price hold?")
        check_amount(Decimal(self.micros_per_hour) / MICRO, currency=self.currency, gpu_count=self.gpu_count)

    @property
    def key(self) -> tuple[str | int | None, ...]:
        """What it is a price of: offers with the same key are prices of the same thing at different times."""
        places = (self.provider, self.instance_type, self.region)
        return (*(place and place.casefold() for place in places), self.gpu.casefold(), self.gpu_count, self.market)

    @property
    def stated_facts(self) -> int:
        """How many of provider, instance type and region it names: the more, the narrower it is."""
        return sum(place is not None for place in (self.provider, self.instance_type, self.region))

    @property
    def micros_per_gpu_hour(self) -> Decimal:
        """The price of one of its GPUs, in micro-units."""
        return Decimal(self.micros_per_hour) / self.gpu_count

    @property
    def day(self) -> str:
        """The day of the price, or that it is unknown."""
        if self.since is None:
            return "date unknown" + (f" (not before {self.not_before:%Y-%m-%d})" if self.not_before else "")
        return f"{self.since:%Y-%m-%d}"

    @property
    def place(self) -> str:
        """What it is a price of, without the GPU: provider, instance type, region and market, as far as it says."""
        facts = (self.provider, self.instance_type, self.region, self.market)
        return " ".join(fact for fact in facts if fact)

    @property
    def amount(self) -> str:
        """The price as people write it."""
        return f"{format_amount(self.micros_per_hour)} {self.currency}/h"

    def age(self, now: datetime) -> timedelta | None:
        """Return how old the price is at `now`; None if its date is unknown."""
        return None if self.since is None else now - self.since

    def as_price(self, now: datetime, *, assumed: Iterable[str] = ()) -> Price:
        """Return the price to freeze into a session at `now`, saying where it is from and what was `assumed`."""
        origin = f"price list {self.source}" if self.origin is Origin.LIST else "catalog"
        source = f"own price of {self.day}" if self.origin is Origin.OWN else f"{origin}: {self.place}, {self.day}"
        guesses = ", ".join(assumed)
        return Price(
            micros_per_hour=self.micros_per_hour,
            currency=self.currency,
            source=f"{source} (assumed: {guesses})" if guesses else source,
            dated=self.since or self.not_before or now,
        )


def check_amount(amount: Decimal, *, currency: str, gpu_count: int) -> None:
    """Refuse what is no price.

    Raises:
        BadValueError: no such currency, not a number, zero, negative, or a placeholder for "no price".
    """
    if not currency:
        raise BadValueError("a price without a currency is no price: say which, like CNY or USD")
    if not is_currency(currency):
        raise BadValueError(f"{currency!r} is not a currency in use: write its ISO 4217 code, like CNY or USD")
    if not amount.is_finite():
        raise BadValueError(f"the price {amount} is not a number")
    if amount <= 0:
        raise BadValueError(f"the price {amount} is not more than zero: leave out what is not known")
    highest = _SENTINEL_PER_GPU_HOUR * units_per_dollar(currency)
    if amount >= highest * gpu_count:
        raise BadValueError(
            f"the price {amount:f} {currency} is {highest} and more per GPU-hour: price lists write such for 'no price'"
        )


def read_amount(text: str) -> Decimal:
    """Return the number in `text`; NaN and infinities are numbers to Decimal, and are left to `check_amount`.

    Raises:
        BadValueError: it is none.
    """
    if _NUMBER.fullmatch(text.strip()) or text.strip().lower().lstrip("+-") in {"nan", "inf", "infinity"}:
        return Decimal(text.strip())
    raise BadValueError(f"{text.strip()!r} is not a number: write prices like 0.526")


def to_micros(amount: Decimal) -> int:
    """Return `amount` in micro-units: catalogs have more digits than anybody is billed by, so it is rounded."""
    return int((amount * MICRO).to_integral_value(rounding=ROUND_HALF_EVEN))


def newest_of_each(offers: Iterable[Offer]) -> list[Offer]:
    """Return of offers with the same key the newest only, of equally new ones the imported.

    Where a date is unknown, the earliest that it may be counts.
    """
    newest: dict[tuple[str | int | None, ...], Offer] = {}
    for offer in offers:
        known = newest.get(offer.key)
        if known is None or _rank(offer) > _rank(known):
            newest[offer.key] = offer
    return list(newest.values())


def _rank(offer: Offer) -> tuple[float, bool]:
    dated = offer.since or offer.not_before
    return (dated.timestamp() if dated else 0.0, offer.origin is not Origin.CATALOG)


class Doubts:
    """Says what makes a price doubtful, seen beside all the other offers."""

    def __init__(self, offers: Iterable[Offer], now: datetime) -> None:
        self._now = now
        self._on_demand = {_twin(offer): offer for offer in offers if offer.market is Market.ON_DEMAND}

    def about(self, offer: Offer) -> list[str]:
        """Return what is doubtful in words; nothing if all is well."""
        found = []
        age = offer.age(self._now)
        if age is None:
            found.append("age unknown")
        elif age > OLD_AFTER:
            found.append("old")
        elif age < timedelta(0):
            found.append("not yet valid")
        twin = self._on_demand.get(_twin(offer))
        if offer.market is Market.SPOT and twin and offer.micros_per_hour >= twin.micros_per_hour:
            found.append("spot as dear as on-demand")
        return found


def _twin(offer: Offer) -> tuple[str | int | None, ...]:
    return (*offer.key[:-1], offer.currency)
