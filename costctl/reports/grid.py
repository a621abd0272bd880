"""Tables in a terminal: columns side by side, as narrow as they can be.

They are laid out here, since rich takes 0.4 ms a row; rich knows how wide characters are, and writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from costctl.reports.cells import printable
from costctl.reports.outline import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

_WIDEST = 120
_WIDTH_OF_A_PIPE = 100
_CUT = ".."
_GAP = "  "
_NARROWEST = 5  # a column that is cut
_NARROWEST_WRAPPED = 20


def console_for(file: TextIO | None = None) -> Console:
    """Return a console on `file` (stdout by default) that takes foreign text as it is and is not too wide."""
    console = Console(file=file, markup=False, highlight=False, emoji=False)
    console.width = min(console.width, _WIDEST) if console.is_terminal else _WIDTH_OF_A_PIPE
    return console


def print_table(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    footer: Sequence[str] = (),
    *,
    wrap: bool = False,
    header: bool = True,
) -> None:
    """Print a table of texts under headings as in `columns_of`; `wrap` as in `print_grid`."""
    print_grid(console, columns_of(headings), rows, footer, wrap=wrap, header=header)


def columns_of(headings: Iterable[str]) -> list[Column]:
    """Return columns with these headings: one that begins with > is for numbers, one with < may be cut."""
    return [
        Column(heading=heading.lstrip("<>"), numeric=heading.startswith(">"), shrinks=heading.startswith("<"))
        for heading in headings
    ]


def print_grid(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    footer: Sequence[str] = (),
    *,
    wrap: bool = False,
    header: bool = True,
) -> None:
    """Print rows of texts under `columns`; with `wrap`, what the last has no room for goes on in further lines."""
    head = [[column.heading for column in columns]] if header else []
    rows = list(_wrapped([*head, *rows], console)) if wrap else [*head, *rows]
    lines = grid_lines(columns, [*rows, footer] if footer else rows, console.width)
    rule = _rule(console) * max(map(cell_len, lines), default=0)
    for line in lines[: len(head)]:
        _write(console, line, style="bold")
        _write(console, rule)
    _write(console, "\n".join(lines[len(head) : len(rows)]))
    for line in lines[len(rows) :]:
        _write(console, rule)
        _write(console, line, style="bold")


def grid_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Return the lines of a table; if they would be wider than `width`, the columns that shrink are cut."""
    texts = [[printable(text) for text in row] for row in rows]
    widths = _widths(texts)
    if width is not None:
        _shrink(widths, [number for number, column in enumerate(columns) if column.shrinks], width)
    return [
        _GAP.join(
            _fitted(text, room, right=column.numeric) for text, room, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in texts
    ]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _shrink(widths: list[int], shrinking: Sequence[int], width: int) -> None:
    """Take from the widest of the columns that shrink until all fit, or nothing is left to take."""
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    for _ in range(excess):
        widest = max(shrinking, key=lambda number: widths[number], default=None)
        if widest is None or widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _fitted(text: str, room: int, *, right: bool) -> str:
    """Return `text` as wide as `room`; what is cut says so."""
    space = room - cell_len(text)
    if space < 0:
        return set_cell_size(text, room - len(_CUT)) + _CUT
    return " " * space + text if right else text + " " * space


def _rule(console: Console) -> str:
    return "─" if console.is_terminal and not console.options.ascii_only else "-"


def _wrapped(rows: Sequence[Sequence[str]], console: Console) -> Iterator[Sequence[str]]:
    """Go on in further rows with what the last column has no room for."""
    *before, _ = _widths(rows)
    room = max(console.width - sum(before) - len(_GAP) * len(before), _NARROWEST_WRAPPED)
    for *cells, last in rows:
        first, *more = Text(last).wrap(console, room) or [Text()]
        yield [*cells, first.plain]
        yield from ([*("" for _ in cells), line.plain] for line in more)


def _write(console: Console, text: str, style: str | None = None) -> None:
    if text:
        console.out(text, style=style, highlight=False)
