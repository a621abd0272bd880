"""What `batch.py` measured, as a Markdown page: rates, ratios, and what a million tokens cost on the GPU it ran on."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import page

from costctl.adapters.catalog import catalog_offers, gpu_models
from costctl.domain.money import format_amount
from costctl.domain.offers import Market

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batch_parts import Measured

    from costctl.domain.offers import Offer

ONE_BY_ONE = "one by one"
_MOST_PRICES = 4


def markdown(facts: Mapping[str, str], measured: Sequence[Measured], failed: Mapping[str, str], gpu: str | None) -> str:
    """Render the page."""
    parts = [page.bullets(facts), _rates(measured) if measured else "", _costs(measured, gpu) if gpu else ""]
    parts += [f"**{name} failed**: {why.splitlines()[0]}" for name, why in failed.items()]
    return "\n\n".join(part for part in parts if part)


def _rates(measured: Sequence[Measured]) -> str:
    fastest = max(each.requests / each.seconds for each in measured)
    slowest = next((each.requests / each.seconds for each in measured if each.name.startswith(ONE_BY_ONE)), None)
    columns = ["", "requests/s", "output tokens/s", "tokens/s", "of the fastest", "times one by one", "seconds"]
    columns += ["whole command, s", "CPU ms per line", "GPU %", "W", "note"]
    return page.table(columns, [_rate_row(each, fastest, slowest) for each in measured])


def _rate_row(each: Measured, fastest: float, slowest: float | None) -> list[str]:
    rate = each.requests / each.seconds
    cpu = ", ".join(f"{name} {used / each.requests * 1e3:.2f}" for name, used in sorted(each.cpu_s.items()))
    return [
        each.name,
        f"{rate:.2f}",
        f"{each.generation_tokens / each.seconds:,.0f}",
        f"{_tokens(each) / each.seconds:,.0f}",
        f"{rate / fastest:.1%}",
        f"{rate / slowest:.1f}" if slowest else "-",
        f"{each.seconds:.2f}",
        _number(each.whole_s, ".1f"),
        cpu or "-",
        _number(each.gpu_percent, ".0f"),
        _number(each.watts, ".0f"),
        each.note,
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _tokens(each: Measured) -> int:
    return each.prompt_tokens + each.generation_tokens


def _costs(measured: Sequence[Measured], gpu: str) -> str:
    offers = cheapest_offers(gpu)
    if not offers:
        return f"The catalog has no price of {gpu}."
    columns = [f"per million tokens on {gpu}", *(f"{offer.provider} {offer.instance_type}" for offer in offers)]
    rows = [[each.name, *(_cost(each, offer) for offer in offers)] for each in measured]
    sources = [
        f"- {offer.place}: {offer.amount} for {offer.gpu_count} GPU, {offer.day}, {offer.source}" for offer in offers
    ]
    return "\n\n".join([page.table(columns, rows), "Prices of the catalog:", "\n".join(sources)])


def cheapest_offers(gpu: str) -> list[Offer]:
    """Return the cheapest offer on demand of each provider, per GPU, for the GPU that the driver calls `gpu`."""
    model = gpu_models().by_nvml_name(gpu)
    offers = [
        offer for offer in catalog_offers() if model and offer.gpu == model.name and offer.market is Market.ON_DEMAND
    ]
    offers.sort(key=lambda offer: (offer.currency, offer.micros_per_gpu_hour))
    first: dict[str | None, Offer] = {}
    for offer in offers:
        first.setdefault(offer.provider, offer)
    return list(first.values())[:_MOST_PRICES]


def _cost(each: Measured, offer: Offer) -> str:
    hours = Decimal(each.seconds) / 3600
    micros = offer.micros_per_gpu_hour * hours / _tokens(each) * 10**6
    return f"{format_amount(round(micros), decimals=4)} {offer.currency}"
