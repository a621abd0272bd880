"""Prices of hosted APIs: the table that ships with costctl, and the data inside the genai-prices library.

The table has what the library says of models with open weights, as `catalog/make_hosted_prices.py` wrote it down. The
library is an extra, and takes longer to import than a report to be made: it is imported only if it is newer than that.
What is used of it: `genai_prices.data.providers`, which is part of the package (nothing is fetched), with
`ModelInfo.get_prices` for the prices of an instant.
"""

from __future__ import annotations

import csv
import re
from datetime import date
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from costctl import resources
from costctl.domain.hosted import HostedPrice, HostedPrices
from costctl.domain.offers import read_amount, to_micros

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

LIBRARY = "genai-prices"
_ROUTER = "huggingface_"  # it passes the providers' own prices on


def hosted_prices(at: datetime) -> HostedPrices:
    """Return all hosted prices as of `at`: those that ship, with the library's own instead where it is newer."""
    shipped = [price for price in shipped_prices() if price.dated is None or price.dated <= at.date()]
    written_down = [price for price in shipped if price.source.startswith(LIBRARY)]
    if _release(_installed()) <= _release(written_down[0].source):
        return HostedPrices(tuple(shipped))
    others = [price for price in shipped if not price.source.startswith(LIBRARY)]
    return HostedPrices((*others, *read_library(at)))


def shipped_prices() -> list[HostedPrice]:
    """Return the prices of the table that ships with costctl."""
    with (resources.folder("catalog") / "hosted_prices.csv").open(encoding="utf-8", newline="") as file:
        return [_shipped(row) for row in csv.DictReader(file)]


def read_library(at: datetime) -> Iterator[HostedPrice]:
    """Yield the prices as of `at` that the installed library knows.

    Raises:
        ImportError: it is not installed.
    """
    from genai_prices.data import providers  # noqa: PLC0415 - an extra, and slow to import

    return read_providers(providers, at=at, source=f"{LIBRARY} {version(LIBRARY)}")


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
        input_micros=_amount(row["input_usd_per_mtok"]),
        output_micros=_amount(row["output_usd_per_mtok"]),
        source=row["source"],
        dated=date.fromisoformat(row["date"]) if row["date"] else None,
    )


@lru_cache(maxsize=1000)  # the same few amounts, all over the table
def _amount(text: str) -> int:
    return to_micros(read_amount(text))


def _installed() -> str:
    try:
        return version(LIBRARY)
    except PackageNotFoundError:
        return ""


def _release(text: str) -> tuple[int, ...]:
    """Return the first version number in `text`; none is older than all."""
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(map(int, found[0].split("."))) if found else ()
