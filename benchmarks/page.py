"""What all pages of results share: Markdown tables, and the facts above them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column is names and whose others are numbers."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def bullets(facts: Mapping[str, str]) -> str:
    """Return a list of named facts."""
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def short(ratio: float) -> str:
    """Return a ratio with two digits that count."""
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"
