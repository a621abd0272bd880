"""A document in a terminal or a pipe; charts are there as the sentence that says the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from rich.text import Text

from costctl.reports.cells import formatted, printable, value_text
from costctl.reports.outline import Chart, Column, Figures, Notes, Prose, Table
from costctl.reports.printing import print_grid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from costctl.reports.outline import Block, Document
    from costctl.reports.wording import Wording

_FIGURE_COLUMNS = (Column(heading=""), Column(heading="", numeric=True), Column(heading=""))


def print_document(document: Document, console: Console, words: Wording) -> None:
    """Print the whole of `document`."""
    _say(console, [document.title], style="bold")
    _say(console, [document.subtitle])
    for section in document.sections:
        console.print()
        _say(console, [section.title], style="bold")
        for number, block in enumerate(section.blocks):
            if number:
                console.print()
            _print_block(block, console, words, document.zone)


def _print_block(block: Block, console: Console, words: Wording, zone: ZoneInfo) -> None:
    match block:
        case Figures():
            _print_figures(block, console, words, zone)
        case Table():
            _print_table(block, console, words, zone)
        case Prose(text):
            _say(console, [text])
        case Chart(alt=text):
            _say(console, [text])
        case Notes(items):
            _say(console, items)
        case _:
            assert_never(block)


def _print_figures(figures: Figures, console: Console, words: Wording, zone: ZoneInfo) -> None:
    rows = [(figure.label, value_text(figure.value, words, zone), figure.note) for figure in figures.items]
    print_grid(console, _FIGURE_COLUMNS, rows, wrap=True, header=False)


def _print_table(table: Table, console: Console, words: Wording, zone: ZoneInfo) -> None:
    texts = formatted(table, words, zone)
    _say(console, [table.title])
    print_grid(console, table.columns, texts.rows, texts.footer)


def _say(console: Console, texts: Iterable[str], style: str = "") -> None:
    for text in filter(None, texts):
        console.print(Text(printable(text), style=style))
