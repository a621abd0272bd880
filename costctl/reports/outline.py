"""A report as a document: sections of sentences, tables and charts, before any format.

Whoever builds a section decides what is said, in the reader's language; whoever renders a document decides how it
looks. Values in tables are typed, so that a spreadsheet gets numbers where people get text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
    from fractions import Fraction
    from zoneinfo import ZoneInfo

TimeUnit = Literal["seconds", "minutes", "hours"]
MomentForm = Literal["day", "short", "minute", "second"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """Money in micro-units; `per` makes it a rate, like "h".

    Without `decimals` a rate has all digits that matter, and a sum as many as its column needs.
    """

    micros: int
    currency: str
    per: str | None = None
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number of something."""

    value: int


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole; one is all of it."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Length:
    """How long something lasted; in tables as a number of `unit`s that the heading names, so that a column compares."""

    value: timedelta
    unit: TimeUnit | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant, to be shown in the document's zone."""

    at: datetime
    form: MomentForm = "minute"


Cell = str | Amount | Count | Share | Length | Moment | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column; one that `adds_up` is rounded so that its cells sum to what its footer shows."""

    heading: str
    numeric: bool = False
    adds_up: bool = False
    shrinks: bool = False
    """Whether its texts may be cut where there is no room: only if they can still be understood."""
    spare: bool = False
    """Whether it may be left out where there is no room; the last of them goes first."""
    names_unit: bool = False
    """Whether the heading says the currency (and per what), so that the cells need not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table; every row and the footer have a cell for each column."""

    key: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footer: tuple[Cell, ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        widths = {len(row) for row in (*self.rows, self.footer or self.columns)}
        if widths != {len(self.columns)}:
            raise ValueError(f"the rows of the table {self.key} are not as wide as its {len(self.columns)} columns")


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One number that stands for itself."""

    label: str
    value: Cell
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers that come first."""

    items: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Notes:
    """Remarks, each a sentence or two, in smaller type."""

    items: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart as a Vega-Lite specification, and the words that say the same to those who cannot see it."""

    key: str
    title: str
    alt: str
    spec: Mapping[str, Any]


Block = Figures | Prose | Table | Chart | Notes


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of a document; `key` names it in file formats and never changes."""

    key: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """Its tables."""
        return tuple(block for block in self.blocks if isinstance(block, Table))


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A whole report; all instants are shown in `zone`."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    zone: ZoneInfo
