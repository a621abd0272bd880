"""Find offers in the price book, and put them in order."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from costctl.domain.currencies import is_currency
from costctl.domain.offers import Market, Offer, Origin, read_amount, to_micros
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LAST = "\uffff"
_ORDERS: dict[str, Callable[[Offer], tuple[object, ...]]] = {
    "price": lambda offer: (offer.currency, offer.micros_per_hour),
    "gpu-price": lambda offer: (offer.currency, offer.micros_per_gpu_hour),
    "age": lambda offer: (-offer.since.timestamp() if offer.since else float("inf"),),
    "provider": lambda offer: (offer.provider or _LAST, offer.instance_type or _LAST),
    "gpu": lambda offer: (offer.gpu, offer.gpu_count),
    "region": lambda offer: (offer.region or _LAST,),
}
ORDERS = tuple(_ORDERS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which offers are wanted; what is None or empty does not matter. Regions and types are patterns like `us-*`."""

    providers: frozenset[str] = frozenset()
    gpus: frozenset[str] = frozenset()
    gpu_count: int | None = None
    instance_type: str | None = None
    region: str | None = None
    market: Market | None = None
    currency: str | None = None
    most_micros: int | None = None
    own: bool = False

    def __contains__(self, offer: Offer) -> bool:
        return (
            (not self.providers or (offer.provider or "").casefold() in self.providers)
            and (not self.gpus or offer.gpu in self.gpus)
            and self.gpu_count in {None, offer.gpu_count}
            and _like(offer.instance_type, self.instance_type)
            and _like(offer.region, self.region)
            and self.market in {None, offer.market}
            and self.currency in {None, offer.currency}
            and (self.most_micros is None or offer.micros_per_hour <= self.most_micros)
            and (not self.own or offer.origin is Origin.OWN)
        )


def most_to_pay(text: str, currency: str | None) -> tuple[int, str]:
    """Return the micro-units and currency of a highest price like `1.5` (with `currency`), `1.5 USD` or `1.5 USD/h`.

    Raises:
        BadValueError: no such price, or in no currency: amounts of different currencies are not compared.
    """
    words = text.removesuffix("/h").split()
    if len(words) > 2:  # noqa: PLR2004 - amount and currency
        raise BadValueError(f"{text!r} is not a price: write it like '1.5 USD/h'")
    named = words[1].upper() if len(words) > 1 else currency
    if named is None:
        raise BadValueError(f"a highest price needs a currency: write it like '{text} USD/h'")
    if not is_currency(named) or currency not in {None, named}:
        raise BadValueError(f"{text!r} is not a price in {currency or 'a currency in use'}")
    amount = read_amount(words[0] if words else text)
    if not amount.is_finite() or amount <= Decimal(0):
        raise BadValueError(f"the highest price {text!r} is not more than zero")
    return to_micros(amount), named


def ordered(offers: Iterable[Offer], by: str) -> list[Offer]:
    """Return `offers` in the order called `by`, equal ones by price; amounts of different currencies stay apart."""
    return sorted(offers, key=lambda offer: (*_ORDERS[by](offer), offer.currency, offer.micros_per_hour, offer.place))


def _like(text: str | None, pattern: str | None) -> bool:
    return pattern is None or fnmatchcase((text or "").casefold(), pattern.casefold())
