"""The cells of a document as text, for every format but a spreadsheet.

A column is rounded as a whole: to as many decimals as its largest sum needs, and where it adds up so that the printed
cells sum to the printed footer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, TypeGuard, assert_never

from costctl.domain.money import MICRO
from costctl.reports.outline import Amount, Count, Length, Moment, Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from zoneinfo import ZoneInfo

    from costctl.reports.outline import Cell, Column, Table, TimeUnit
    from costctl.reports.wording import Wording

_MICROSECOND = timedelta(microseconds=1)
_TENTHS = {
    "seconds": timedelta(seconds=1) / 10,
    "minutes": timedelta(minutes=1) / 10,
    "hours": timedelta(hours=1) / 10,
}
_SHARE_STEPS = 1000  # tenths of a percent


@dataclass(frozen=True, kw_only=True, slots=True)
class FormattedTable:
    """The texts of a table, as wide as its columns; the footer is empty where the table has none."""

    rows: tuple[tuple[str, ...], ...]
    footer: tuple[str, ...]


def formatted(table: Table, words: Wording, zone: ZoneInfo) -> FormattedTable:
    """Return the texts of `table`; what is unknown is called so in rows, and left out of the footer."""
    footer = table.footer or (None,) * len(table.columns)
    columns = [
        _texts(column, cells, words, zone) for column, *cells in zip(table.columns, *table.rows, footer, strict=True)
    ]
    *rows, last = zip(*columns, strict=True)
    return FormattedTable(rows=tuple(rows), footer=last if table.footer else ())


def value_text(value: Cell, words: Wording, zone: ZoneInfo) -> str:
    """Return the text of a value that stands alone, with its unit."""
    if isinstance(value, Length) and value.unit:
        return _with_unit(_text(value, words, zone), value.unit, words)
    if isinstance(value, Length):
        return words.length(value.value)
    return _text(with_decimals([value], words)[0], words, zone)


def _with_unit(number: str, unit: TimeUnit, words: Wording) -> str:
    return {
        "seconds": words.say("{number} s", number=number),
        "minutes": words.say("{number} min", number=number),
        "hours": words.say("{number} h", number=number),
    }[unit]


def printable(text: str) -> str:
    """Return foreign `text` without what would steer a terminal or break a line."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else " " if one.isspace() else "?" for one in text)


def _texts(column: Column, cells: Sequence[Cell], words: Wording, zone: ZoneInfo) -> list[str]:
    *rows, total = with_decimals(cells, words)
    rows = list(_adding_up(rows)) if column.adds_up else rows
    texts = [_text(cell, words, zone, bare=column.names_unit) for cell in rows]
    return [*texts, "" if total is None else _text(total, words, zone, bare=column.names_unit)]


def _text(cell: Cell, words: Wording, zone: ZoneInfo, *, bare: bool = False) -> str:
    match cell:
        case None:
            return words.say("unknown")
        case str():
            return cell
        case Amount():
            return _bare_amount(cell, words) if bare else _amount(cell, words)
        case Count(value):
            return words.number(value)
        case Share(value):
            return words.share(value)
        case Length(value, unit):
            return words.number(_tenths(value, unit) / 10, decimals=1) if unit else words.length(value)
        case Moment(at, form):
            return words.moment(at, zone, form)
        case _:
            assert_never(cell)


def _amount(amount: Amount, words: Wording) -> str:
    text = words.amount(amount.micros, amount.currency, amount.decimals)
    return f"{text}/{amount.per}" if amount.per else text


def _bare_amount(amount: Amount, words: Wording) -> str:
    return words.plain_amount(amount.micros, amount.currency, amount.decimals)


def _is_sum(cell: Cell) -> TypeGuard[Amount]:
    return isinstance(cell, Amount) and cell.per is None and cell.decimals is None


def with_decimals(cells: Sequence[Cell], words: Wording) -> list[Cell]:
    """Return the cells with sums as exact as the largest of their currency needs."""
    largest: Counter[str] = Counter()
    for cell in filter(_is_sum, cells):
        largest[cell.currency] = max(largest[cell.currency], abs(cell.micros))
    decimals = {currency: words.decimals_of_sum(micros, currency) for currency, micros in largest.items()}
    return [replace(cell, decimals=decimals[cell.currency]) if _is_sum(cell) else cell for cell in cells]


def _adding_up(cells: Iterable[Cell]) -> Iterator[Cell]:
    """Round where the sums so far fall, so that what is printed adds up to the sum that is printed below it."""
    reached: defaultdict[str, Fraction] = defaultdict(Fraction)
    for cell in cells:
        kind, steps = _steps(cell)
        before = round(reached[kind])
        reached[kind] += steps
        yield _of_steps(cell, round(reached[kind]) - before)


def _steps(cell: Cell) -> tuple[str, Fraction]:
    """Return what kind of number a cell is, and how many it is of the smallest that is printed."""
    match cell:
        case Amount(decimals=int(decimals)):
            return cell.currency, Fraction(cell.micros * 10**decimals, MICRO)
        case Share(value):
            return "share", value * _SHARE_STEPS
        case Length(value, str(unit)):
            return unit, _tenths(value, unit)
        case _:
            return "", Fraction(0)


def _of_steps(cell: Cell, steps: int) -> Cell:
    match cell:
        case Amount(decimals=int(decimals)):
            return replace(cell, micros=steps * MICRO // 10**decimals)
        case Share():
            return Share(Fraction(steps, _SHARE_STEPS))
        case Length(_, str(unit)):
            return replace(cell, value=steps * _TENTHS[unit])
        case _:
            return cell


def _tenths(value: timedelta, unit: str) -> Fraction:
    return Fraction(value // _MICROSECOND, _TENTHS[unit] // _MICROSECOND)
