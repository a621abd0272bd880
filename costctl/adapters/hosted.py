"""Prices of hosted APIs: the table that ships with costctl, and the data inside the genai-prices library.

genai-prices is an extra and is imported only here, when it is used. What is used of it: `genai_prices.data.providers`,
which is part of the package (nothing is fetched), with `ModelInfo.get_prices` for the prices of an instant.
"""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from costctl import resources
from costctl.domain.hosted import HostedPrice, HostedPrices
from costctl.domain.offers import read_amount, to_micros

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

_ROUTER = "huggingface_"  # it passes the providers' own prices on


def hosted_prices(at: datetime) -> HostedPrices:
    """Return all hosted prices as of `at`: those that ship, and those of genai-prices where it is installed."""
    try:
        from genai_prices.data import providers  # noqa: PLC0415 - an extra
    except ImportError:
        return HostedPrices(tuple(shipped_prices()))
    source = f"genai-prices {version('genai-prices')}"
    return HostedPrices((*shipped_prices(), *read_providers(providers, at=at, source=source)))


def shipped_prices() -> list[HostedPrice]:
    """Return the prices of the table that ships with costctl."""
    with (resources.folder("catalog") / "hosted_prices.csv").open(encoding="utf-8", newline="") as file:
        return [_shipped(row) for row in csv.DictReader(file)]


def read_providers(providers: Iterable[Any], *, at: datetime, source: str) -> Iterator[HostedPrice]:
    """Yield what genai-prices' `providers` ask at `at` for tokens in and out, leaving out what is free or withdrawn."""
    for provider in providers:
        for model in provider.models:
            prices = model.get_prices(at)
            micros = [_micros(price) for price in (prices.input_mtok, prices.output_mtok)]
            if min(micros) > 0 and not model.deprecated:
                yield HostedPrice(
                    model=model.id,
                    provider=provider.id.removeprefix(_ROUTER),
                    input_micros=micros[0],
                    output_micros=micros[1],
                    source=source,
                    dated=_since(model, prices),
                )


def _micros(price: Any) -> int:
    """Return micro-dollars, 0 for none; of a price that depends on the prompt's length, the one for short prompts."""
    amount = getattr(price, "base", price)
    return to_micros(amount) if isinstance(amount, Decimal) else 0


def _since(model: Any, prices: Any) -> date | None:
    """Return since when the library knows these very prices; most of its prices have no date."""
    conditional = model.prices if isinstance(model.prices, list) else []
    starts = (getattr(price.constraint, "start_date", None) for price in conditional if price.prices is prices)
    return next(starts, None)


def _shipped(row: dict[str, str]) -> HostedPrice:
    return HostedPrice(
        model=row["model"],
        provider=row["provider"],
        input_micros=to_micros(read_amount(row["input_usd_per_mtok"])),
        output_micros=to_micros(read_amount(row["output_usd_per_mtok"])),
        source=row["source"],
        dated=date.fromisoformat(row["date"]) if row["date"] else None,
    )
