"""How documents for programs write values: exact, and alike in all of them.

Money is decimal text, never a binary fraction; lengths are seconds, to the microsecond; instants are ISO 8601.
"""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING, Any

from costctl.domain.money import format_amount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from fractions import Fraction
    from zoneinfo import ZoneInfo

_DIGITS = 6
_encode = json.JSONEncoder(ensure_ascii=False).encode


def money(micros: int | None) -> str | None:
    """Return an amount as decimal text; None if it is unknown."""
    return None if micros is None else format_amount(micros)


def amounts(micros_by_currency: Mapping[str, int]) -> dict[str, str]:
    """Return an amount in each currency as decimal text."""
    return {currency: format_amount(micros) for currency, micros in micros_by_currency.items()}


def seconds(length: timedelta | None) -> float | None:
    """Return a length in seconds; None if it is unknown."""
    return None if length is None else length.total_seconds()


def number(value: Fraction | None) -> float | None:
    """Return a share or a quotient, of which one is the whole, to six decimals; None if it is unknown."""
    return None if value is None else round(float(value), _DIGITS)


def instant(at: datetime, zone: ZoneInfo | None = None) -> str:
    """Return an instant with the offset of `zone`; without one in UTC, with a Z."""
    if zone is not None:
        return at.astimezone(zone).isoformat()
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def json_text(document: Mapping[str, Any] | list[Any]) -> str:
    """Return a document with a line for each item of its lists: json indents too slowly for thousands of sessions."""
    if isinstance(document, list):
        return _items(document) + "\n"
    members = (f"{_encode(name)}: {_member(value)}" for name, value in document.items())
    return "{\n  " + ",\n  ".join(members) + "\n}\n"


def _member(value: Any) -> str:
    text = _items(value) if isinstance(value, list) else json.dumps(value, indent=2, ensure_ascii=False)
    return text.replace("\n", "\n  ")  # texts in it have no line ends: JSON escapes them


def _items(items: list[Any]) -> str:
    return "[\n  " + ",\n  ".join(map(_encode, items)) + "\n]" if items else "[]"
