"""The offer that a GPU would be rented by: the cheapest of those that are meant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from costctl.domain.offers import Doubts, Market, Offer, Origin, newest_of_each
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from costctl.domain.gpu_models import GpuModel
    from costctl.domain.money import Price

_FALLBACK_CURRENCY = "USD"
_SERVERLESS = "-serverless"


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """Where and how to rent. What was `asked` for holds strictly; the rest only where it leaves any offer.

    `currency` is the one to compare in: an offer in another is converted where `convert` (micro-units, from, to) knows
    a rate, else it stands as it is where there is none in it.
    """

    provider: str | None = None
    region: str | None = None
    instance_type: str | None = None
    currency: str | None = None
    convert: Callable[[int, str, str], int | None] | None = None
    asked: frozenset[str] = frozenset()

    def converted(self, price: Price) -> Price:
        """Return `price` in the currency to compare in; as it is, if it is in it already or no rate is known."""
        if self.convert is None or self.currency in {None, price.currency}:
            return price
        micros = self.convert(price.micros_per_hour, price.currency, self.currency)
        return replace(price, micros_per_hour=micros, currency=self.currency) if micros else price


class Shelf:
    """The offers that hold now: the newest of each."""

    def __init__(self, offers: Iterable[Offer], now: datetime) -> None:
        self._now = now
        held = [offer for offer in offers if offer.since is None or offer.since <= now]
        own = [offer for offer in held if offer.origin is Origin.OWN]
        listed = [offer for offer in held if offer.origin is not Origin.OWN]
        self._offers = [*newest_of_each(own), *newest_of_each(listed)]
        self._doubts = Doubts(self._offers, now)

    def best(self, gpu: GpuModel, market: Market, terms: Terms) -> Offer | None:
        """Return the offer by which one `gpu` would be rented, None if there is none.

        Machines come before serverless workers, then own prices, single GPUs, the currency to compare in; of what is
        left, the cheapest is taken; of several other currencies, dollars.
        """
        found: Sequence[Offer] = [offer for offer in self._offers if offer.gpu == gpu.name and offer.market is market]
        for fact in ("provider", "region", "instance_type"):
            wanted = getattr(terms, fact)
            if wanted:
                those = [offer for offer in found if _is_at(offer, fact, wanted)]
                found = those if those or fact in terms.asked else found
        found = _preferred(found, lambda offer: not _is_serverless(offer))
        found = _preferred(found, lambda offer: offer.origin is Origin.OWN)
        found = _preferred(found, lambda offer: offer.gpu_count == 1)
        priced = [(self.price_of_one_gpu(offer, terms), offer) for offer in found]
        for currency in (terms.currency, _FALLBACK_CURRENCY):
            priced = [(price, offer) for price, offer in priced if price.currency == currency] or priced
        _, best = min(priced, key=_by_price, default=(None, None))
        return best

    def price_of_one_gpu(self, offer: Offer, terms: Terms) -> Price:
        """Return the price of one GPU of `offer`, to the micro-unit, in the currency to compare in if it can be."""
        return terms.converted(
            replace(offer.as_price(self._now), micros_per_hour=round(offer.micros_per_gpu_hour) or 1)
        )

    def doubts(self, offer: Offer) -> tuple[str, ...]:
        """Return what is doubtful about an offer, seen beside the others."""
        return tuple(self._doubts.about(offer))

    def gpus_at(self, provider: str | None, region: str | None) -> list[str]:
        """Return the GPUs that `provider` (any, if None) offers in `region` (in any), by name.

        Raises:
            BadValueError: no offer of the provider is known, or none there.
        """
        found = self._narrowed(self._offers, "provider", provider)
        found = self._narrowed(found, "region", region)
        return sorted({offer.gpu for offer in found})

    def _narrowed(self, offers: Sequence[Offer], fact: str, wanted: str | None) -> Sequence[Offer]:
        if wanted is None:
            return offers
        known = sorted({getattr(offer, fact) for offer in offers} - {None})
        if wanted.casefold() not in map(str.casefold, known):
            raise BadValueError(f"no price at the {fact} {wanted!r} is known; known are {', '.join(known) or 'none'}")
        return [offer for offer in offers if _is_at(offer, fact, wanted)]


def _is_at(offer: Offer, fact: str, wanted: str) -> bool:
    value: str | None = getattr(offer, fact)
    if value is None:
        return fact == "region" and offer.provider is not None  # its price does not depend on the region
    return value.casefold() == wanted.casefold()


def _is_serverless(offer: Offer) -> bool:
    """Return whether what is rented are workers for single requests: no machine that costctl could run on."""
    return (offer.provider or "").endswith(_SERVERLESS)


def _by_price(priced: tuple[Price, Offer]) -> tuple[str, int, str]:
    price, offer = priced
    return price.currency, price.micros_per_hour, offer.place


def _preferred(offers: Sequence[Offer], is_better: Callable[[Offer], bool]) -> Sequence[Offer]:
    return [offer for offer in offers if is_better(offer)] or offers
