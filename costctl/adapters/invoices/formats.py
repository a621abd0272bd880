"""The invoices that are understood: AWS CUR, AWS Cost Explorer, RunPod's billing export, and a plain file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from costctl.adapters.invoices.tables import CsvTable, plain, read_table
from costctl.domain.money import TO_MICRO_UNITS, parse_currency, parse_micros
from costctl.domain.reconciliation import InvoiceLine
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import tzinfo
    from pathlib import Path

    Cells = Mapping[str, str]
    Reader = Callable[[CsvTable, "Asked"], Iterator[InvoiceLine | str]]

BUCKETS = ("hour", "day", "month")
_EXAMPLES = 5
_DECEMBER = 12
_MACHINE_USAGE = re.compile(r"(Box|Spot|Dedicated|Host|Reserved)\w*Usage", re.IGNORECASE)
_MACHINE_COLUMN = re.compile(r"EC2-Instances|Elastic Compute Cloud - Compute|BoxUsage|SpotUsage", re.IGNORECASE)
_DOLLARS = re.compile(r"\(\$\)\s*$")
_TOTAL = re.compile(r"total costs?\s*\(\$\)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the person says about the file: the zone of times without one, and the length of its buckets."""

    zone: tzinfo
    bucket: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A kind of invoice: the columns that it must have, and how its lines are read."""

    title: str
    columns: tuple[str, ...]
    read: Reader

    def missing(self, table: CsvTable) -> list[str]:
        """Return the columns that `table` lacks."""
        return [name for name in self.columns if plain(name) not in table.columns]


@dataclass(frozen=True, kw_only=True, slots=True)
class Invoice:
    """The lines of an invoice, and what kind it was."""

    title: str
    lines: tuple[InvoiceLine, ...]


def read_invoice(path: Path, asked: Asked) -> Invoice:
    """Read the invoice at `path`, of whatever known format it is.

    Raises:
        BadValueError: columns are missing, lines cannot be understood (with their numbers), or there are none.
    """
    table = read_table(path)
    found = _format_of(table)
    read = list(found.read(table, asked))
    bad = [problem for problem in read if isinstance(problem, str)]
    if bad:
        more = f"; and {len(bad) - _EXAMPLES} more" if len(bad) > _EXAMPLES else ""
        raise BadValueError(f"{table.name}: {'; '.join(bad[:_EXAMPLES])}{more}")
    lines = tuple(line for line in read if isinstance(line, InvoiceLine))
    if not lines:
        raise BadValueError(f"{table.name} has a header but no charges: there is nothing to compare with")
    return Invoice(title=found.title, lines=lines)


def _format_of(table: CsvTable) -> Format:
    if any(_TOTAL.search(name) for name in table.header):
        return _COST_EXPLORER
    nearest = min(_FORMATS, key=lambda one: len(one.missing(table)) / len(one.columns))
    missing = nearest.missing(table)
    if not missing:
        return nearest
    if len(missing) == len(nearest.columns):
        raise BadValueError(
            f"{table.name}: no known invoice (its columns are {', '.join(table.header[:8])}): "
            "give an AWS CUR or Cost Explorer CSV, RunPod's billing export, or columns start,end,amount,currency"
        )
    raise BadValueError(f"{table.name}: looks like {nearest.title}, but lacks the column {', '.join(missing)}")


def _by_line(read: Callable[[int, Cells, Asked], InvoiceLine]) -> Reader:
    def lines(table: CsvTable, asked: Asked) -> Iterator[InvoiceLine | str]:
        for number, cells in table.cells():
            try:
                yield read(number, cells, asked)
            except BadValueError as error:
                yield f"line {number}: {error}"

    return lines


def _plain(number: int, cells: Cells, asked: Asked) -> InvoiceLine:
    return _line(
        number,
        _instant(cells["start"], asked.zone),
        _instant(cells["end"], asked.zone),
        cells["amount"],
        currency=cells["currency"],
        resource=cells.get("resource", ""),
    )


def _cur(number: int, cells: Cells, asked: Asked) -> InvoiceLine:  # noqa: ARG001 - its times are in UTC
    usage = cells.get("lineitemusagetype", "")
    return _line(
        number,
        _instant(cells["lineitemusagestartdate"], UTC),
        _instant(cells["lineitemusageenddate"], UTC),
        cells["lineitemunblendedcost"],
        currency=cells["lineitemcurrencycode"],
        resource=cells.get("lineitemresourceid", ""),
        what=usage,
        is_machine="lineitemusagetype" not in cells or bool(_MACHINE_USAGE.search(usage)),
    )


def _runpod(table: CsvTable, asked: Asked) -> Iterator[InvoiceLine | str]:
    end_of = _bucket_ends(table, "time", asked)

    def read(number: int, cells: Cells, asked: Asked) -> InvoiceLine:  # noqa: ARG001 - its times are in UTC
        begin = _instant(cells["time"], UTC)
        currency, resource = cells.get("currency") or "USD", cells.get("podid") or cells.get("endpointid", "")
        return _line(number, begin, end_of(begin), cells["amount"], currency=currency, resource=resource)

    return _by_line(read)(table, asked)


def _cost_explorer(table: CsvTable, asked: Asked) -> Iterator[InvoiceLine | str]:
    """Read a line per date; its columns are services or usage types, of which the machines' are compared."""
    dated = plain(table.header[0])
    costs = {plain(name): name for name in table.header[1:] if _DOLLARS.search(name) and not _TOTAL.search(name)}
    machine = {key for key, name in costs.items() if _MACHINE_COLUMN.search(name)}
    if not machine:
        costs = {plain(name): name for name in table.header if _TOTAL.search(name)}
        machine = set(costs)
    dates = CsvTable(
        name=table.name,
        header=table.header,
        rows=tuple(row for row in table.rows if not plain(row[1][0]).endswith("total")),
    )
    end_of = _bucket_ends(dates, dated, asked)
    for number, cells in dates.cells():
        try:
            begin = _instant(cells[dated], UTC)
            for key, name in costs.items():
                what, amount = _DOLLARS.sub("", name), cells[key] or "0"
                line = _line(number, begin, end_of(begin), amount, currency="USD", what=what, is_machine=key in machine)
                if line.micros:
                    yield line
        except BadValueError as error:
            yield f"line {number}: {error}"


def _bucket_ends(table: CsvTable, column: str, asked: Asked) -> Callable[[datetime], datetime]:
    """Return how a bucket's end follows from its start: as was said, else from the step between the starts."""
    bucket = asked.bucket or _bucket(table, column)
    if bucket == "month":
        return lambda begin: begin.replace(
            year=begin.year + begin.month // _DECEMBER, month=begin.month % _DECEMBER + 1, day=1
        )
    length = timedelta(hours=1) if bucket == "hour" else timedelta(days=1)
    return lambda begin: begin + length


def _bucket(table: CsvTable, column: str) -> str:
    starts = set()
    for _, cells in table.cells():
        try:
            starts.add(_instant(cells[column], UTC))
        except BadValueError:
            continue  # told with its line when the lines are read
    if any(start.hour or start.minute for start in starts):
        return "hour"
    steps = {after - before for before, after in pairwise(sorted(starts))}
    if not steps:
        raise BadValueError(f"{table.name}: from one date nobody can tell how long it lasts: say --bucket day or month")
    if min(steps) < timedelta(days=1):
        return "hour"
    return "month" if min(steps) >= timedelta(days=28) else "day"


def _line(
    number: int,
    begin: datetime,
    end: datetime,
    amount: str,
    *,
    currency: str,
    resource: str = "",
    what: str = "",
    is_machine: bool = True,
) -> InvoiceLine:
    if end < begin:
        raise BadValueError(f"it ends ({end:%Y-%m-%d %H:%M}) before it starts ({begin:%Y-%m-%d %H:%M})")
    return InvoiceLine(
        number=number,
        started_at=begin,
        ended_at=end,
        # Providers write more decimals than can be paid: each charge is rounded once, to the micro-unit.
        micros=parse_micros(amount, TO_MICRO_UNITS),
        currency=parse_currency(currency),
        resource=resource,
        what=what,
        is_machine=is_machine,
    )


def _instant(text: str, zone: tzinfo) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadValueError(f"{text!r} is not a time: write it like 2026-01-31T08:00:00Z") from None


_COST_EXPLORER = Format(title="an AWS Cost Explorer CSV", columns=(), read=_cost_explorer)
_FORMATS = (
    Format(title="a plain file", columns=("start", "end", "amount", "currency"), read=_by_line(_plain)),
    Format(
        title="an AWS Cost and Usage Report",
        columns=(
            "lineItem/UsageStartDate",
            "lineItem/UsageEndDate",
            "lineItem/UnblendedCost",
            "lineItem/CurrencyCode",
        ),
        read=_by_line(_cur),
    ),
    Format(title="RunPod's billing export", columns=("time", "amount", "timeBilledMs"), read=_runpod),
)
