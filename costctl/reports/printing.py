"""Print tables: bold and ruled on a terminal, plain ASCII in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from costctl.reports.grid import GAP, column_widths, columns_of, grid_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

    from costctl.reports.outline import Column

_WIDEST = 120
_NARROWEST_WRAPPED = 20


class _Console(Console):
    """A console whose reader may have had enough: what follows from that is not for it to say."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - rich calls this while it handles the error


def console_for(file: TextIO | None = None) -> Console:
    """Return a console on `file` (stdout by default) that takes foreign text as it is and is not too wide."""
    console = _Console(file=file, markup=False, highlight=False, emoji=False)
    console.width = min(console.width, _WIDEST) if console.is_terminal else _WIDEST
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
    foot = [footer] if footer else []
    rows = [*head, *rows]
    if wrap:
        rows = list(_wrapped(rows, _room_of_the_last([*rows, *foot], console.width), console))
    lines = grid_lines(columns, [*rows, *foot], console.width)
    rule = _rule(console) * max(map(cell_len, lines), default=0)
    for line in lines[: len(head)]:
        _write(console, line, style="bold")
        _write(console, rule)
    _write(console, "\n".join(lines[len(head) : len(rows)]))
    for line in lines[len(rows) :]:
        _write(console, rule)
        _write(console, line, style="bold")


def _rule(console: Console) -> str:
    return "─" if console.is_terminal and not console.options.ascii_only else "-"


def _room_of_the_last(rows: Sequence[Sequence[str]], width: int) -> int:
    before = column_widths(rows)[:-1]
    return max(width - sum(before) - GAP * len(before), _NARROWEST_WRAPPED)


def _wrapped(rows: Sequence[Sequence[str]], room: int, console: Console) -> Iterator[Sequence[str]]:
    """Go on in further rows with what the last column has no room for."""
    for *cells, last in rows:
        first, *more = Text(last).wrap(console, room) or [Text()]
        yield [*cells, first.plain]
        yield from ([*("" for _ in cells), line.plain] for line in more)


def _write(console: Console, text: str, style: str | None = None) -> None:
    if text:
        console.out(text, style=style, highlight=False)
