"""Tables as lines of text: columns side by side, as narrow as they can be.

They are laid out here, since rich takes 0.4 ms for a row; it knows how wide characters are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from costctl.reports.cells import printable
from costctl.reports.outline import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GAP = 2  # between columns
_CUT = ".."
_NARROWEST = 5  # a column that is cut
_READABLE = 16  # the same, while others can go


def columns_of(headings: Iterable[str]) -> list[Column]:
    """Return columns with these headings: one that begins with > is for numbers, one with < may be cut."""
    return [
        Column(heading=heading.lstrip("<>"), numeric=heading.startswith(">"), shrinks=heading.startswith("<"))
        for heading in headings
    ]


def grid_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Return the lines of a table; if they are wider than `width`, spare columns go, and those that shrink are cut."""
    texts = [[printable(text) for text in row] for row in rows]
    widths = column_widths(texts)
    if width is not None and widths:
        kept = _kept(columns, widths, width)
        columns, widths = [columns[number] for number in kept], [widths[number] for number in kept]
        texts = [[row[number] for number in kept] for row in texts]
        _shrink(widths, [number for number, column in enumerate(columns) if column.shrinks], width)
    return [_line(row, widths, columns) for row in texts]


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return how wide the columns of a table with these rows are, in places of a terminal."""
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int) -> Sequence[int]:
    """Return the columns that stay: spare ones only if the rest can still be read beside them."""
    needed = [min(room, _READABLE) if column.shrinks else room for column, room in zip(columns, widths, strict=True)]
    kept = list(range(len(columns)))
    for number in reversed(kept.copy()):
        if columns[number].spare and sum(needed[one] for one in kept) + GAP * (len(kept) - 1) > width:
            kept.remove(number)
    return kept


def _shrink(widths: list[int], shrinking: Sequence[int], width: int) -> None:
    """Take from the widest of the columns that shrink until all fit, or nothing is left to take."""
    excess = sum(widths) + GAP * (len(widths) - 1) - width
    for _ in range(excess):
        widest = max(shrinking, key=lambda number: widths[number], default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _line(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    cells = zip(row, widths, columns, strict=True)
    return (" " * GAP).join(_fitted(text, room, right=column.numeric) for text, room, column in cells).rstrip()


def _fitted(text: str, room: int, *, right: bool) -> str:
    """Return `text` as wide as `room`; what is cut says so."""
    space = room - cell_len(text)
    if space < 0:
        return set_cell_size(text, room - len(_CUT)) + _CUT
    return " " * space + text if right else text + " " * space
