"""The rates of exchange in `[[rate]]` tables."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from costctl.config.readers import as_text
from costctl.config.tables import placed
from costctl.domain.currencies import read_currency
from costctl.domain.rates import Rate
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from costctl.config.tables import Table, TomlFile


_AMOUNT = re.compile(r"\d{1,10}(\.\d{1,15})?", re.ASCII)


def read_rates(file: TomlFile | None) -> tuple[Rate, ...]:
    """Return the rates that `file` gives.

    Raises:
        BadValueError: one is not understood, or there are two for the same currencies and day.
    """
    places: dict[tuple[str, str, date], str] = {}
    rates = []
    for table in file.array("rate") if file else ():
        rate = _rate(table)
        first = places.setdefault((rate.base, rate.quote, rate.dated), table.place)
        if first != table.place:
            raise BadValueError(f"{table.place}: {rate.base} to {rate.quote} on {rate.dated} is given already: {first}")
        rates.append(rate)
    return tuple(rates)


def _rate(table: Table) -> Rate:
    with placed(table):
        rate = Rate(
            base=table.require("from", _currency),
            quote=table.require("to", _currency),
            amount=table.require("rate", _amount),
            dated=table.require("date", _day),
            source=table.take("source", as_text, ""),
        )
    table.finish()
    return rate


def _currency(value: Any) -> str:
    return read_currency(as_text(value))


def _amount(value: Any) -> Decimal:
    text = str(value).strip()
    if not _AMOUNT.fullmatch(text):
        raise BadValueError(f"{value!r} is not a rate: write it like '7.12'")
    return Decimal(text)


def _day(value: Any) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        shown = repr(value) if isinstance(value, str) else value
        raise BadValueError(f"{shown} is not a date: write it like 2026-01-31, without quotes")
    return value
