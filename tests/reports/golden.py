"""The golden reports: what costctl writes of the generated year, as files to read and to compare with.

`make golden` writes them anew; what git then shows as changed is what the change of the code did to reports.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import openpyxl
from generated_year import fill_year

from costctl import __version__
from costctl.ledger.store import Ledger
from costctl.reports.html import render_html
from costctl.reports.outline import Chart
from costctl.reports.periods import read_period
from costctl.reports.wording import Wording
from costctl.wiring.comparison import Wish
from costctl.wiring.report_forms import Form, document_of, written
from costctl.wiring.reports import load_report

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = Path(__file__).parent / "golden"
CONFIGURATION = FOLDER / "costctl.toml"
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
_FORMS = {
    ".txt": Form.TEXT,
    ".md": Form.MARKDOWN,
    ".html": Form.HTML,
    ".xlsx": Form.XLSX,
    ".json": Form.JSON,
    ".csv": Form.CSV,
}
_MOST_LINES = 20
JANUARY = {"month": "2026-01"}
FEBRUARY = {"month": "2026-02"}
YEAR = {"since": "2025-07-01", "until": "2026-06-30"}
WEEK = {"week": "2026-W04"}
EMPTY = {"month": "2026-08"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Golden:
    """How a golden file is made; its name's ending is the form."""

    period: Mapping[str, str]
    language: str = "en"
    currency: str | None = None
    charts: bool = False
    """Whether it has the specifications of the report's charts, and not the report."""


GOLDEN = {
    "january.en.txt": Golden(period=JANUARY),
    "january.zh.txt": Golden(period=JANUARY, language="zh"),
    "january.en.md": Golden(period=JANUARY),
    "january.en.html": Golden(period=JANUARY),
    "january.zh.html": Golden(period=JANUARY, language="zh"),
    "january.xlsx": Golden(period=JANUARY),
    "january.json": Golden(period=JANUARY),
    "january.csv": Golden(period=JANUARY),
    "january.charts.json": Golden(period=JANUARY, charts=True),
    "february.usd.txt": Golden(period=FEBRUARY, currency="USD"),
    "february.usd.json": Golden(period=FEBRUARY, currency="USD"),
    "week.txt": Golden(period=WEEK),
    "year.txt": Golden(period=YEAR),
    "year.json": Golden(period=YEAR),
    "empty.txt": Golden(period=EMPTY),
    "empty.md": Golden(period=EMPTY),
    "empty.html": Golden(period=EMPTY),
    "empty.xlsx": Golden(period=EMPTY),
    "empty.json": Golden(period=EMPTY),
    "empty.csv": Golden(period=EMPTY),
}


@contextmanager
def alone(home: Path, ledger_url: str, configuration: Path | None = None) -> Iterator[None]:
    """Let costctl see nothing of this machine but `ledger_url` and `configuration`, while the context lasts."""
    before, folder = dict(os.environ), Path.cwd()
    python = {name: value for name, value in before.items() if name.startswith(("PATH", "PYTHON", "COVERAGE"))}
    own = {
        "COSTCTL_HOME": f"{home}",
        "COSTCTL_LEDGER": ledger_url,
        "HF_HOME": f"{home}",
        "HOME": f"{home}",
        "TZ": "UTC",
    }
    os.environ.clear()
    os.environ |= python | own
    if configuration:
        os.environ["COSTCTL_CONFIG"] = f"{configuration}"
    os.chdir(home)
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ |= before


def golden_files() -> dict[str, bytes]:
    """Return all golden files as the code writes them now; costctl has to be `alone`."""
    load = cache(_load)
    return {name: _content(name, golden, load) for name, golden in GOLDEN.items()}


def _load(currency: str | None, **period: str):
    return load_report(read_period(**period, now=NOW, zone=BERLIN), now=NOW, wish=Wish(currency=currency))


def _content(name: str, golden: Golden, load) -> bytes:
    form, words = _FORMS[Path(name).suffix], Wording.of(golden.language)
    loaded = load(golden.currency, **golden.period)
    if golden.charts:
        return _charts(loaded, words)
    if form is Form.HTML:  # the library that draws charts is not ours to hold to the byte
        page = render_html(document_of(loaded, form, words), words, None)
        return page.replace(f"costctl {__version__}", "costctl VERSION").encode()
    return written(loaded, form, words)


def _charts(loaded, words: Wording) -> bytes:
    sections = document_of(loaded, Form.HTML, words).sections
    charts = {block.key: block.spec for section in sections for block in section.blocks if isinstance(block, Chart)}
    return (json.dumps(charts, indent=1, ensure_ascii=False) + "\n").encode()


def difference(name: str, content: bytes) -> str:
    """Return how `content` is not the golden file `name`, and what to do about it; nothing if it is."""
    path = FOLDER / name
    expected, found = (_readable(name, one) for one in (path.read_bytes() if path.exists() else b"", content))
    if expected == found:
        return ""
    lines = list(difflib.unified_diff(expected, found, "golden", "now", lineterm="", n=1))
    more = [f"... and {len(lines) - _MOST_LINES} lines more"] if len(lines) > _MOST_LINES else []
    advice = f"{name} is not what it was. If it ought to be as it is now: `make golden`, and read `git diff`."
    return "\n".join([advice, *(line[:160] for line in lines[:_MOST_LINES]), *more])


def _readable(name: str, content: bytes) -> list[str]:
    """Return lines to compare: of a workbook those that say what is in each cell."""
    if not name.endswith(".xlsx"):
        return content.decode().splitlines(keepends=True)
    return list(_cells(content)) if content else []


def _cells(workbook: bytes) -> Iterator[str]:
    for sheet in openpyxl.load_workbook(io.BytesIO(workbook)):
        yield f"{sheet.title}: filter {sheet.auto_filter.ref}, frozen {sheet.freeze_panes}"
        for cell in (cell for row in sheet.iter_rows() for cell in row if cell.value is not None):
            bold = " bold" if cell.font.bold else ""
            yield f"{sheet.title}!{cell.coordinate}: {cell.value!r} {cell.data_type} {cell.number_format}{bold}"


def make() -> None:
    """Write the golden files that are not what the code writes."""
    with TemporaryDirectory() as home:
        url = f"sqlite:///{home}/ledger.db"
        with Ledger.open(url) as ledger:
            fill_year(ledger)
        with alone(Path(home), url, CONFIGURATION):
            files = golden_files()
    for name, content in files.items():
        if difference(name, content):
            (FOLDER / name).write_bytes(content)
            sys.stdout.write(f"wrote {name}\n")


if __name__ == "__main__":
    make()
