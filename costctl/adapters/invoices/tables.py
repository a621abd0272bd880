"""CSV files as people get them: any of the usual encodings and separators, columns by their header."""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LARGEST = 512 * 2**20
_SEPARATORS = (",", ";", "\t")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvTable:
    """A header, as it is and by its plain names, and the lines below it with their numbers."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    @property
    def columns(self) -> Mapping[str, int]:
        """Where each column is, by its plain name; of two with the same name, the first."""
        return {plain(name): place for place, name in reversed(list(enumerate(self.header)))}

    def cells(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield each line's number and its cells by plain name; what a short line lacks is empty."""
        columns = self.columns
        for number, row in self.rows:
            yield number, {name: row[at].strip() if at < len(row) else "" for name, at in columns.items()}


def read_table(path: Path) -> CsvTable:
    """Read the CSV file at `path`.

    Raises:
        BadValueError: it cannot be read, or there is no table in it.
    """
    text = decode(_bytes(path))
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        lines = [(reader.line_num, tuple(row)) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise BadValueError(f"{path} line {reader.line_num}: not CSV: {error}") from error
    if not lines:
        raise BadValueError(f"{path} is empty: there is nothing to compare with")
    header = tuple(cell.strip() for cell in lines[0][1])
    return CsvTable(name=str(path), header=header, rows=tuple(lines[1:]))


def decode(content: bytes) -> str:
    """Return the text of a file: by its mark, else UTF-8, else UTF-16 if it looks like that, else Latin-1."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    for encoding in _unmarked(content):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def plain(name: str) -> str:
    """Return the name of a column without what spellings differ in: lineItem/UsageType is line_item_usage_type."""
    return re.sub(r"[^a-z0-9$]", "", name.lower())


def _unmarked(content: bytes) -> tuple[str, ...]:
    # A table is mostly ASCII: in UTF-16 every other byte of it is zero.
    half = len(content) // 4
    if content[1::2].count(0) > half:
        return ("utf-16-le",)
    if content[0::2].count(0) > half:
        return ("utf-16-be",)
    return ("utf-8",)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise BadValueError(f"{path} is larger than 512 MiB: export a shorter time, or fewer columns")
        return path.read_bytes()
    except OSError as error:
        raise BadValueError(f"cannot read the invoice {path}: {error.strerror}") from error
