"""Which price a machine gets, and why: an own price, else one of the price lists or the catalog, else unknown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from costctl.domain.matching import ALL_FACTS, Candidate, judge_listed, judge_own
from costctl.domain.money import Price, format_amount
from costctl.domain.offers import OLD_AFTER, Market, Offer, newest_of_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from costctl.domain.gpu_models import GpuModels
    from costctl.domain.sessions import Instance


class Basis(StrEnum):
    """What a price rests on."""

    SETTING = "setting"
    OWN = "own"
    LIST = "list"
    CATALOG = "catalog"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceRange:
    """From the cheapest to the dearest of several offers in one currency."""

    currency: str
    low_micros: int
    high_micros: int

    def __str__(self) -> str:
        low, high = format_amount(self.low_micros), format_amount(self.high_micros)
        return f"{low} {self.currency}/h" if low == high else f"{low} to {high} {self.currency}/h"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The price of a machine, None if it is unknown, with the reason and all that was looked at."""

    basis: Basis
    price: Price | None
    reason: str
    offer: Offer | None = None
    ranges: tuple[PriceRange, ...] = ()
    remarks: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()


def chosen_by_setting(price: Price) -> Choice:
    """Return the choice of a price that was given to costctl as a setting: nothing else is looked at."""
    reason = f"{price.source} says {price}, and a setting comes before all price lists"
    return Choice(basis=Basis.SETTING, price=price, reason=reason)


def choose(
    machine: Instance, *, own: Iterable[Offer], listed: Iterable[Offer], models: GpuModels, now: datetime
) -> Choice:
    """Return the price of `machine` at `now`.

    Args:
        machine: what is known of it; its GPU is called as the driver calls it.
        own: the own prices, of any time.
        listed: the offers of imported lists and of the catalog.
        models: the kinds of GPU, by which the driver's name is understood.
        now: when the price shall hold.
    """
    if machine.gpu is None or machine.gpu_count < 1:
        return Choice(basis=Basis.UNKNOWN, price=None, reason="no GPU of this machine is known, so no offer matches it")
    model = models.by_nvml_name(machine.gpu)
    gpu = (model.name if model else machine.gpu).casefold()
    judged = [judge_own(offer, machine, gpu, now) for offer in own]
    choice = _choose_own(judged, machine, now)
    if choice is not None:
        return choice
    of_this_gpu = [offer for offer in newest_of_each(listed) if offer.gpu.casefold() == gpu]
    judged += [judge_listed(offer, machine) for offer in of_this_gpu]
    if model is None and not of_this_gpu:
        reason = f"{machine.gpu!r} is in no price list, and costctl knows no other name of it"
        return Choice(basis=Basis.UNKNOWN, price=None, reason=reason, candidates=tuple(judged))
    return _choose_listed(judged, machine, now)


def _choose_own(judged: Sequence[Candidate], machine: Instance, now: datetime) -> Choice | None:
    fitting = [candidate.offer for candidate in judged if not candidate.why]
    if not fitting:
        return None
    best = [max(some, key=_narrow_then_new) for market in Market if (some := _of_market(fitting, market))]
    if _differ(best):
        reasons = {id(offer): "it is one of two markets, and this machine's is not set" for offer in best}
        reason = f"own prices match of both markets ({_ranges_text(best)}): set market to on-demand or spot"
        return _unknown(reason, best, _explained(judged, reasons))
    winner = best[0]
    assumed = () if machine.market else ("market",)
    reasons = {id(winner): "the narrowest own price that holds now, and of those the newest"}
    return Choice(
        basis=Basis.OWN,
        price=winner.as_price(now, assumed=assumed),
        offer=winner,
        reason=f"an own price holds: {winner.amount} from {winner.day}",
        remarks=_remarks(winner, assumed, now),
        candidates=_explained(judged, reasons, taken=winner),
    )


def _choose_listed(judged: Sequence[Candidate], machine: Instance, now: datetime) -> Choice:
    gpu = f"{machine.gpu_count} x {machine.gpu}"
    own = "no own price holds"
    if not machine.provider:
        reason = f"{own}, and this machine's provider is not set, so no price list can be asked"
        possible = [one.offer for one in judged if one.offer.gpu_count == machine.gpu_count and one.offer.provider]
        return _unknown(reason, possible, tuple(judged))
    fitting = [candidate.offer for candidate in judged if not candidate.why]
    if not fitting:
        return _unknown(f"{own}, and no offer of {machine.provider} matches {gpu}", [], tuple(judged))
    unset = _told_apart_by(fitting, machine)
    if _differ(fitting):
        reasons = {id(offer): f"it is one of {len(fitting)} that match" for offer in fitting}
        reason = f"{len(fitting)} offers of {machine.provider} match {gpu}, {_ranges_text(fitting)}: set {unset}"
        return _unknown(reason, fitting, _explained(judged, reasons))
    winner = min(fitting, key=lambda offer: offer.since or now)
    assumed = _assumed(winner, machine)
    reasons = dict.fromkeys(map(id, fitting), "it costs the same as the one taken") | {id(winner): "it matches"}
    return Choice(
        basis=Basis(winner.origin),
        price=winner.as_price(now, assumed=assumed),
        offer=winner,
        reason=f"{own}; {winner.place} matches {gpu}: {winner.amount}, {winner.day}",
        remarks=_remarks(winner, assumed, now),
        candidates=_explained(judged, reasons, taken=winner),
    )


def _narrow_then_new(offer: Offer) -> tuple[int, float]:
    return (offer.stated_facts, offer.since.timestamp() if offer.since else 0.0)


def _of_market(offers: Iterable[Offer], market: Market) -> list[Offer]:
    return [offer for offer in offers if offer.market is market]


def _differ(offers: Iterable[Offer]) -> bool:
    return len({(offer.micros_per_hour, offer.currency) for offer in offers}) > 1


def _assumed(offer: Offer, machine: Instance) -> tuple[str, ...]:
    return tuple(words for fact, words in ALL_FACTS.items() if getattr(offer, fact) and not getattr(machine, fact))


def _told_apart_by(offers: Sequence[Offer], machine: Instance) -> str:
    unset = [
        words
        for fact, words in ALL_FACTS.items()
        if not getattr(machine, fact) and len({getattr(offer, fact) for offer in offers}) > 1
    ]
    return " and ".join(unset) or "an own price"


def _ranges(offers: Iterable[Offer]) -> tuple[PriceRange, ...]:
    by_currency: dict[str, list[int]] = {}
    for offer in offers:
        by_currency.setdefault(offer.currency, []).append(offer.micros_per_hour)
    return tuple(
        PriceRange(currency=currency, low_micros=min(amounts), high_micros=max(amounts))
        for currency, amounts in sorted(by_currency.items())
    )


def _ranges_text(offers: Iterable[Offer]) -> str:
    return ", ".join(map(str, _ranges(offers)))


def _remarks(offer: Offer, assumed: Sequence[str], now: datetime) -> tuple[str, ...]:
    remarks = [f"not set, so taken from the offer: {', '.join(assumed)}"] if assumed else []
    age = offer.age(now)
    if age is None:
        remarks.append(f"the age of this price is unknown: {offer.day}")
    elif age > OLD_AFTER:
        remarks.append(f"this price is {age.days} days old: check it, and set the right one with `costctl prices set`")
    return tuple(remarks)


def _unknown(reason: str, offers: Sequence[Offer], candidates: tuple[Candidate, ...]) -> Choice:
    return Choice(basis=Basis.UNKNOWN, price=None, reason=reason, ranges=_ranges(offers), candidates=candidates)


def _explained(
    judged: Iterable[Candidate], reasons: dict[int, str], *, taken: Offer | None = None
) -> tuple[Candidate, ...]:
    """Return the candidates, with a word on those that fit: by default that a narrower or newer one holds."""
    return tuple(
        candidate
        if candidate.why
        else Candidate(
            offer=candidate.offer,
            taken=candidate.offer is taken,
            why=reasons.get(id(candidate.offer), "a narrower or newer own price holds"),
        )
        for candidate in judged
    )
