"""Whether an offer is for a machine, and if not, what speaks against it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from costctl.domain.offers import Offer
    from costctl.domain.sessions import Instance

FACTS = {"provider": "provider", "instance_type": "instance-type", "region": "region"}
ALL_FACTS = {**FACTS, "market": "market"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An offer that was looked at, and why it was or was not taken.

    `against` says the same of all offers that fail alike, where `why` names what is different about this one.
    """

    offer: Offer
    taken: bool
    why: str
    against: str = ""


def judge_own(offer: Offer, machine: Instance, gpu: str, now: datetime) -> Candidate:
    """Return an own price, with what speaks against it: it holds only where all that it states is known and true."""
    why = ""
    if offer.gpu.casefold() != gpu:
        why = f"it is for the GPU {offer.gpu}"
    elif offer.since is not None and offer.since > now:
        why = f"it is valid only from {offer.day}"
    else:
        unset = [words for fact, words in FACTS.items() if getattr(offer, fact) and not getattr(machine, fact)]
        if unset:
            why = f"it is for one {unset[0]}, and this machine's {unset[0]} is not set"
    return Candidate(offer=offer, taken=False, why=why) if why else _compared(offer, machine)


def judge_listed(offer: Offer, machine: Instance) -> Candidate:
    """Return a listed offer for this GPU, with what speaks against it: the provider has to be known."""
    if not machine.provider:
        return Candidate(offer=offer, taken=False, why="this machine's provider is not set")
    return _compared(offer, machine)


def _compared(offer: Offer, machine: Instance) -> Candidate:
    """Return the offer with how it is for another machine, without a word if it may be for this one."""
    if offer.gpu_count != machine.gpu_count:
        count, against = offer.gpu_count, f"it is for another number of GPUs than {machine.gpu_count}"
        why = f"it is for {count} GPU{'s' * (count > 1)}, not {machine.gpu_count}"
        return Candidate(offer=offer, taken=False, why=why, against=against)
    for fact, words in ALL_FACTS.items():
        here, there = getattr(machine, fact), getattr(offer, fact)
        if not _compatible(here, there):
            why, against = f"it is for the {words} {there}, not {here}", f"it is for another {words} than {here}"
            return Candidate(offer=offer, taken=False, why=why, against=against)
    return Candidate(offer=offer, taken=False, why="")


def _compatible(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one.casefold() == other.casefold()


def clashes(new: Sequence[Offer], known: Iterable[Offer]) -> Iterator[tuple[Offer, Offer]]:
    """Yield each known price with a new one that would hold for the same machine from the same instant, equally narrow.

    A new price is known to those after it.
    """
    rivals: defaultdict[tuple[object, ...], list[Offer]] = defaultdict(list)
    for offer in known:
        rivals[_width(offer)].append(offer)
    for offer in new:
        for rival in rivals[_width(offer)]:
            if all(_compatible(getattr(offer, fact), getattr(rival, fact)) for fact in FACTS):
                yield rival, offer
        rivals[_width(offer)].append(offer)


def _width(offer: Offer) -> tuple[object, ...]:
    return (offer.since, offer.gpu.casefold(), offer.gpu_count, offer.market, offer.stated_facts)
