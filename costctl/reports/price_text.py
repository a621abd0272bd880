"""The price book for people: plain lines that fit a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from costctl.reports.cells import printable
from costctl.reports.grid import columns_of, grid_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from costctl.domain.gpu_models import GpuModel, GpuModels
    from costctl.domain.matching import Candidate
    from costctl.domain.offers import Doubts, Offer
    from costctl.domain.prices import Choice
    from costctl.domain.sessions import Instance

_COLUMNS = columns_of(("provider", "type", "GPU", "region", "market", ">price", "date", ">age", ""))


def offer_lines(offers: Iterable[Offer], doubts: Doubts, now: datetime) -> Iterator[str]:
    """Yield a table of offers."""
    rows = [
        (
            offer.provider or "any",
            offer.instance_type or "any",
            _gpus(offer),
            offer.region or "any",
            offer.market,
            offer.amount,
            offer.day if offer.since else "unknown",
            _age(offer, now),
            ", ".join([*_own(offer), *doubts.about(offer)]),
        )
        for offer in offers
    ]
    yield from grid_lines(_COLUMNS, [[column.heading for column in _COLUMNS], *rows])


def offer_in_full(offer: Offer, doubts: Doubts, now: datetime) -> Iterator[str]:
    """Yield all that is known of one offer."""
    yield printable(f"{offer.amount}  {offer.place}, {_gpus(offer)}")
    date = f"{offer.day}, {_age(offer, now)} old" if offer.since else offer.day
    number = f", number {offer.id}" if offer.id is not None else ""
    facts = {
        "date": date,
        "origin": f"{offer.origin}{number}",
        "source": offer.source,
        "note": offer.note,
        "doubts": ", ".join(doubts.about(offer)),
    }
    for name, words in facts.items():
        if words:
            yield printable(f"  {name:<8}{words}")


def model_lines(model: GpuModel) -> Iterator[str]:
    """Yield the facts of a kind of GPU."""
    fp8 = f", FP8 {model.fp8_dense_tflops} TFLOP/s" if model.fp8_dense_tflops else ", no FP8"
    bf16 = "bf16" if model.bf16 else "no bf16"
    capability = ".".join(map(str, model.compute_capability))
    yield f"{model.name}: {model.vram_gib} GiB, {model.memory_bandwidth_gb_s} GB/s, {model.tdp_w} W"
    yield f"  dense FP16 {model.fp16_dense_tflops} TFLOP/s{fp8}, {bf16}, compute capability {capability}"
    yield f"  called {', '.join(model.nvml_names)} by the driver; source: {model.source}"


def choice_lines(
    choice: Choice, machine: Instance, *, models: GpuModels, doubts: Doubts, now: datetime
) -> Iterator[str]:
    """Yield which price a machine gets, why, and what else was looked at."""
    yield printable(f"machine   {_machine(machine, models)}")
    yield f"price     {choice.price or 'unknown'}"
    if choice.price:
        yield printable(f"source    {choice.price.source}")
    yield printable(f"why       {choice.reason}")
    if choice.ranges:
        yield f"range     {', '.join(map(str, choice.ranges))}"
    for remark in choice.remarks:
        yield printable(f"note      {remark}")
    if choice.candidates:
        yield ""
        yield from _candidate_lines(choice.candidates, doubts, now)


def _candidate_lines(candidates: Sequence[Candidate], doubts: Doubts, now: datetime) -> Iterator[str]:
    """Yield own prices and the offer that was taken one by one, the others counted by what spoke against them."""
    single = [one for one in candidates if one.taken or one.offer.origin == "own"]
    for one in single:
        words = ", ".join(
            [one.offer.day, *([_age(one.offer, now)] if one.offer.since else []), *doubts.about(one.offer)]
        )
        kind = ", ".join(_own(one.offer)) or "catalog"
        what = f"{kind}, {one.offer.place}, {_gpus(one.offer)}, {one.offer.amount} ({words})"
        yield printable(f"{'taken' if one.taken else 'not taken'}: {what}: {one.why}")
    rest = [one for one in candidates if one not in single]
    for why, count in Counter(one.against or one.why for one in rest).most_common():
        yield printable(f"not taken: {count} offer{'s' * (count > 1)} of this GPU: {why}")


def _machine(machine: Instance, models: GpuModels) -> str:
    model = models.by_nvml_name(machine.gpu) if machine.gpu else None
    gpu = f"{machine.gpu_count} x {machine.gpu}" if machine.gpu else "no GPU known"
    known = f" ({model.name})" if model and model.name != machine.gpu else ""
    facts = {
        "provider": machine.provider,
        "instance-type": machine.instance_type,
        "region": machine.region,
        "market": machine.market,
    }
    return ", ".join([f"{gpu}{known}", *(f"{name} {value or 'not set'}" for name, value in facts.items())])


def _gpus(offer: Offer) -> str:
    return f"{offer.gpu_count} x {offer.gpu}"


def _age(offer: Offer, now: datetime) -> str:
    age = offer.age(now)
    return "?" if age is None else f"{age.days}d"


def _own(offer: Offer) -> list[str]:
    if offer.origin == "catalog":
        return []
    return [f"own {offer.id}" if offer.origin == "own" else f"list {offer.source}"]
