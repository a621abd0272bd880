"""Price lists as CSV: what all have in common, and costctl's own format.

A list is checked whole before any of it is used. Columns go by their header, not by their place.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from costctl.domain.offers import Market, Offer, Origin, check_amount, read_amount, to_micros
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from costctl.domain.gpu_models import GpuModels

FACTS = ("provider", "instance_type", "gpu", "gpu_count", "region", "market", "currency", "per_hour", "date")
WORDS = ("not_before", "source", "note")
COLUMNS = FACTS + WORDS
"""The columns of costctl's own format; only gpu, currency and per_hour have to be there."""
_REQUIRED = ("gpu", "currency", "per_hour")
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line."""

    line: int
    words: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.words}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceList:
    """What a file says: its offers, its bad lines, and what was left out on purpose."""

    offers: tuple[Offer, ...]
    problems: tuple[Problem, ...] = ()
    remarks: tuple[str, ...] = ()


class Table:
    """The rows of a CSV text by their header's names. Raises BadValueError where it has none."""

    def __init__(self, text: str) -> None:
        header = next((line for line in text.splitlines() if line.strip()), "")
        if not header:
            raise BadValueError("the file is empty")
        delimiter = max(_DELIMITERS, key=header.count)
        self._reader = csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=delimiter, strict=True)
        self._lines_before = text[: len(text) - len(text.lstrip())].count("\n")
        self.columns = [name.strip() for name in next(self._reader)]

    def require(self, columns: Sequence[str]) -> None:
        """Refuse a table without one of `columns`, or with one twice. Raises BadValueError."""
        missing = [name for name in columns if name not in self.columns]
        if missing:
            there = ", ".join(self.columns)[:200]
            raise BadValueError(f"the column {missing[0]} is missing; the file has {there}")
        twice = [name for name in self.columns if name and self.columns.count(name) > 1]
        if twice:
            raise BadValueError(f"the column {twice[0]} is there twice")

    def rows(self, problems: list[Problem]) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield each row with the number of its line; one that does not fit the header goes to `problems`."""
        while True:
            try:
                cells = next(self._reader, None)
            except csv.Error as error:
                problems.append(Problem(self._line, f"{error}: the file cannot be read beyond this"))
                return
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(self.columns):
                problems.append(Problem(self._line, f"{len(cells)} cells where the header has {len(self.columns)}"))
                continue
            yield self._line, {name: cell.strip() for name, cell in zip(self.columns, cells, strict=True)}

    @property
    def _line(self) -> int:
        return self._reader.line_num + self._lines_before


def read_own_format(text: str, *, models: GpuModels, since: datetime | None, any_gpu: bool = False) -> PriceList:
    """Return the own prices in `text`, a CSV in costctl's own format.

    Args:
        text: the CSV.
        models: the kinds of GPU that are known.
        since: from when prices hold whose line has no date.
        any_gpu: take names of unknown GPUs as they are: what the driver calls them.

    Raises:
        BadValueError: it is no such table at all; what is wrong with single lines is in the result.
    """
    table = Table(text)
    table.require(_REQUIRED)
    offers, problems, foreign = [], list[Problem](), 0
    for line, row in table.rows(problems):
        if row.get("origin", Origin.OWN) != Origin.OWN:
            foreign += 1
            continue
        try:
            offers.append(_own_offer(row, models=models, since=since, any_gpu=any_gpu))
        except BadValueError as error:
            problems.append(Problem(line, str(error)))
    remarks = (f"{foreign} lines are not own prices (column origin) and are left out",) if foreign else ()
    return PriceList(offers=tuple(offers), problems=tuple(problems), remarks=remarks)


def read_catalog(text: str) -> list[Offer]:
    """Return the offers of costctl's own catalog, whose every line is checked by a test."""
    rows = csv.reader(io.StringIO(text, newline=""))
    header = next(rows)
    return [_catalog_offer(dict(zip(header, cells, strict=True))) for cells in rows]


def read_day(text: str) -> datetime:
    """Return the instant of a date (00:00 UTC) or of a time with its offset from UTC.

    Raises:
        BadValueError: it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadValueError(f"{text!r} is not a date: write it like 2026-01-31") from None
    if found.tzinfo is None and (found.hour or found.minute or len(text) > len("2026-01-31")):
        raise BadValueError(f"{text!r} needs a time zone: write it like 2026-01-31T08:00+08:00, or the date alone")
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def read_count(text: str) -> int:
    """Return a number of GPUs; nothing is one.

    Raises:
        BadValueError: not a whole number from 1.
    """
    number = text.removesuffix(".0") or "1"
    if not number.isascii() or not number.isdigit() or int(number) < 1:
        raise BadValueError(f"{text!r} is not a whole number of GPUs")
    return int(number)


def read_market(text: str) -> Market:
    """Return the market called `text`; nothing is on-demand.

    Raises:
        BadValueError: there is no such market.
    """
    try:
        return Market(text.casefold() or Market.ON_DEMAND)
    except ValueError:
        raise BadValueError(f"{text!r} is not a market: on-demand or spot") from None


def read_micros(text: str, *, currency: str, gpu_count: int) -> int:
    """Return the micro-units of a plausible hourly price.

    Raises:
        BadValueError: it is no price.
    """
    if not text:
        raise BadValueError("the price is missing")
    amount = read_amount(text)
    check_amount(amount, currency=currency, gpu_count=gpu_count)
    return to_micros(amount)


def _own_offer(row: Mapping[str, str], *, models: GpuModels, since: datetime | None, any_gpu: bool) -> Offer:
    count, currency = read_count(row.get("gpu_count", "")), row["currency"].upper()
    day = row.get("date") or row.get("not_before")  # of an unknown date the earliest: nothing looks fresher than it is
    return Offer(
        provider=row.get("provider") or None,
        instance_type=row.get("instance_type") or None,
        region=row.get("region") or None,
        gpu=gpu_name(row["gpu"], models, any_gpu=any_gpu),
        gpu_count=count,
        market=read_market(row.get("market", "")),
        currency=currency,
        micros_per_hour=read_micros(row["per_hour"], currency=currency, gpu_count=count),
        origin=Origin.OWN,
        since=read_day(day) if day else since,
        source=row.get("source", ""),
        note=row.get("note", ""),
    )


def gpu_name(text: str, models: GpuModels, *, any_gpu: bool) -> str:
    """Return what the price book calls the GPU that a person calls `text`.

    Raises:
        BadValueError: it is not known, and not `any_gpu` will do.
    """
    if not text.strip():
        raise BadValueError("the GPU is missing")
    if not any_gpu:
        return models.named(text).name
    known = models.by_nvml_name(text)
    return known.name if known else text.strip()


def _catalog_offer(row: Mapping[str, str]) -> Offer:
    return Offer(
        provider=row["provider"],
        instance_type=row["instance_type"],
        region=row["region"] or None,
        gpu=row["gpu"],
        gpu_count=int(row["gpu_count"]),
        market=Market(row["market"]),
        currency=row["currency"],
        micros_per_hour=to_micros(read_amount(row["per_hour"])),
        origin=Origin.CATALOG,
        since=read_day(row["date"]) if row["date"] else None,
        not_before=read_day(row["not_before"]) if row["not_before"] else None,
        source=row["source"],
        note=row["note"],
    )
