"""A document as a workbook: a sheet for each section, with numbers, money and dates that can be reckoned with.

XlsxWriter is an extra and is imported only here, when it is used. Amounts are exact: a double holds every micro-unit of
sums up to a thousand million.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from rich.cells import cell_len

from costctl.domain.money import MICRO
from costctl.errors import MissingPieceError
from costctl.reports.cells import formatted, printable, with_decimals
from costctl.reports.outline import Amount, Chart, Column, Count, Figures, Length, Moment, Notes, Prose, Share, Table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO
    from zoneinfo import ZoneInfo

    from xlsxwriter import Workbook
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

    from costctl.reports.outline import Block, Cell, Document, Section
    from costctl.reports.wording import Wording

_OPTIONS = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
_CREATED = datetime(2000, 1, 1, tzinfo=UTC)  # the same document is the same file
# Excel's limits: of a sheet's name, its length and its signs, and of a text.
_NAME_LENGTH = 31
_NOT_IN_NAMES = str.maketrans(dict.fromkeys("[]:*?/\\'", " "))
_LONGEST_TEXT = 32_767
_MOST_FROZEN = 8  # lines that may stay in sight
_WIDEST = 60
_MARGIN = 2
_UNITS = {"seconds": timedelta(seconds=1), "minutes": timedelta(minutes=1), "hours": timedelta(hours=1)}
_DAY = timedelta(days=1)
_MINUTES = "yyyy-mm-dd hh:mm"  # a cell has a whole date in any case, so there is no shorter form
_MOMENT_FORMATS = {"day": "yyyy-mm-dd", "short": _MINUTES, "minute": _MINUTES, "second": "yyyy-mm-dd hh:mm:ss"}
_LINE = (Column(heading=""),)
_FIGURE_COLUMNS = (Column(heading=""), Column(heading="", numeric=True), Column(heading=""))


def write_xlsx(document: Document, words: Wording, file: BinaryIO) -> None:
    """Write `document` as a workbook.

    Raises:
        MissingPieceError: XlsxWriter is not installed.
    """
    try:
        from xlsxwriter import Workbook  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingPieceError("a workbook needs XlsxWriter: pip install 'costctl[report]'") from None
    with Workbook(file, _OPTIONS) as workbook:
        workbook.set_properties({"title": printable(document.title), "created": _CREATED})
        styles = _Styles(workbook)
        names = sheet_names([section.title for section in document.sections])
        for name, section in zip(names, document.sections, strict=True):
            sheet = _Sheet(workbook.add_worksheet(name), styles, words, document.zone)
            if section is document.sections[0]:
                sheet.texts([document.title], bold=True)
                sheet.texts([document.subtitle])
            sheet.texts([words.say("times in {zone}", zone=document.zone)])
            sheet.section(section)


def sheet_names(titles: Iterable[str]) -> list[str]:
    """Return names for sheets as a spreadsheet takes them: short, unlike each other, and without its own signs."""
    names: list[str] = []
    for title in titles:
        wanted = " ".join(printable(title).translate(_NOT_IN_NAMES).split()) or "-"
        endings = ("", *(f" {number}" for number in range(2, len(names) + 3)))
        candidates = (wanted[: _NAME_LENGTH - len(ending)] + ending for ending in endings)
        taken = {"history", *(name.casefold() for name in names)}
        names.append(next(name for name in candidates if name.casefold() not in taken))
    return names


def typed(cell: Cell, words: Wording, zone: ZoneInfo, *, bare: bool = False) -> tuple[str | float | datetime, str]:
    """Return what a spreadsheet holds for `cell`, and the format it shows it in."""
    match cell:
        case None:
            return words.say("unknown"), ""
        case str():
            return printable(cell)[:_LONGEST_TEXT], ""
        case Amount():
            return cell.micros / MICRO, _amount_format(cell, bare=bare)
        case Count(value):
            return value, "#,##0"
        case Share(value):
            return float(value), "0.0%"
        case Length(value, unit):
            return (value / _UNITS[unit], "#,##0.0") if unit else (value / _DAY, "[h]:mm:ss")
        case Moment(at, form):
            return at.astimezone(zone).replace(tzinfo=None), _MOMENT_FORMATS[form]
        case _:
            assert_never(cell)


def _amount_format(amount: Amount, *, bare: bool) -> str:
    decimals = "00####" if amount.decimals is None else "0" * amount.decimals
    number = f"#,##0.{decimals}" if decimals else "#,##0"
    unit = printable(f"{amount.currency}/{amount.per}" if amount.per else amount.currency).replace('"', "'")
    return number if bare else f'{number} "{unit}"'


class _Styles:
    """The formats of a workbook, each made once."""

    def __init__(self, workbook: Workbook) -> None:
        self._workbook = workbook
        self._formats: dict[tuple[str, bool, bool], Format] = {}

    def get(self, number_format: str = "", *, bold: bool = False, right: bool = False) -> Format:
        key = (number_format, bold, right)
        if key not in self._formats:
            properties = {"num_format": number_format or "General", "bold": bold, "align": "right" if right else ""}
            self._formats[key] = self._workbook.add_format({name: value for name, value in properties.items() if value})
        return self._formats[key]


class _Sheet:
    """A sheet that is filled from its top down."""

    def __init__(self, worksheet: Worksheet, styles: _Styles, words: Wording, zone: ZoneInfo) -> None:
        self._worksheet = worksheet
        self._styles = styles
        self._words = words
        self._zone = zone
        self._row = 0
        self._widths: Counter[int] = Counter()

    def section(self, section: Section) -> None:
        """Write the tables and figures, then the sentences; a sheet has one filter, and one heading that stays."""
        for block in sorted(section.blocks, key=lambda block: not isinstance(block, Figures | Table)):
            if isinstance(block, Table) and block is section.tables[0]:
                self._keep_in_sight(block, is_only=len(section.tables) == 1)
            self._block(block)
            self._row += 1
        for place, width in self._widths.items():
            self._worksheet.set_column(place, place, min(width, _WIDEST) + _MARGIN)

    def texts(self, texts: Iterable[str], *, bold: bool = False) -> None:
        """Write a line for each text that says something."""
        for text in filter(None, texts):
            self._write_row((text,), _LINE, bold=bold)

    def _block(self, block: Block) -> None:
        match block:
            case Figures():
                self._cells(_figure_table(block, self._words))
            case Table():
                self.texts([block.title], bold=True)
                self._write_row([column.heading for column in block.columns], block.columns, bold=True)
                self._cells(block)
            case Prose(text):
                self.texts([text])
            case Chart(alt=text):
                self.texts([text])
            case Notes(items):
                self.texts(items)
            case _:
                assert_never(block)

    def _keep_in_sight(self, table: Table, *, is_only: bool) -> None:
        head = self._row + bool(table.title)
        self._worksheet.autofilter(head, 0, head + len(table.rows), len(table.columns) - 1)
        if is_only and head <= _MOST_FROZEN:
            self._worksheet.freeze_panes(head + 1, 0)

    def _cells(self, table: Table) -> None:
        blank: tuple[Cell, ...] = tuple("" if cell is None else cell for cell in table.footer)
        columns = zip(*table.rows, *([blank] if blank else []), strict=True)
        rows = zip(*(with_decimals(cells, self._words) for cells in columns), strict=True)
        for number, row in enumerate(rows):
            self._write_row(row, table.columns, bold=number == len(table.rows))
        texts = formatted(table, self._words, self._zone)
        headings = tuple(column.heading for column in table.columns)
        for place, column in enumerate(zip(headings, *texts.rows, texts.footer or headings, strict=True)):
            self._widths[place] = max(self._widths[place], *map(cell_len, column))

    def _write_row(self, row: Iterable[Cell], columns: Iterable[Column], *, bold: bool) -> None:
        for place, (cell, column) in enumerate(zip(row, columns, strict=True)):
            value, number_format = typed(cell, self._words, self._zone, bare=column.names_unit)
            style = self._styles.get(number_format, bold=bold, right=column.numeric)
            write = self._worksheet.write_string if isinstance(value, str) else self._worksheet.write
            write(self._row, place, value, style)
        self._row += 1


def _figure_table(figures: Figures, words: Wording) -> Table:
    rows = [(figure.label, _alone(figure.value, words), figure.note) for figure in figures.items]
    return Table(key="figures", columns=_FIGURE_COLUMNS, rows=tuple(rows))


def _alone(value: Cell, words: Wording) -> Cell:
    """Return a value that no heading explains and no column rounds."""
    return Length(value.value) if isinstance(value, Length) else with_decimals([value], words)[0]
