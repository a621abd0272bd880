"""The report of a period: read from the ledger, studied, and written in the form that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

from costctl.domain.hosted import break_even
from costctl.domain.windows import window_studies
from costctl.reports.monthly import report_document
from costctl.reports.studies import Studies, idle_gaps, model_uses, months_to_date, studies_object, usual_start
from costctl.reports.tally import Facts, report_of
from costctl.wiring import read_ledger
from costctl.wiring.billing import load_billing

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from typing import TextIO

    from costctl.domain.hosted import BreakEven
    from costctl.domain.periods import Period
    from costctl.domain.sessions import Session
    from costctl.ledger.store import Ledger
    from costctl.reports.figures import Report
    from costctl.reports.outline import Document
    from costctl.reports.wording import Wording
    from costctl.wiring.billing import Billing

SESSIONS_SHOWN = 100
"""In forms that people read; spreadsheets and data have all."""


class Form(StrEnum):
    """In which form a report is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    XLSX = "xlsx"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A report with all that is said about it."""

    report: Report
    studies: Studies
    newest: datetime | None
    """When the newest session began; looked up only for an empty period."""


def load_report(period: Period, *, now: datetime) -> Loaded:
    """Return the report of `period`. Raises LedgerError, BadValueError."""
    billing = load_billing()
    with read_ledger() as ledger:
        facts = _read(ledger, period, billing)
        first, newest = ledger.first_start(), None if facts.sessions else _newest(ledger)
    report = report_of(facts, period=period, now=now, standing=billing.standing)
    first_known = first.astimezone(period.zone).date() if first else None
    studies = Studies(
        windows=window_studies(idle_gaps(facts.sessions, period), start=usual_start(report)),
        hosted=_beside_hosted(report, now),
        months=months_to_date(report, now=now, first_known=first_known),
    )
    return Loaded(report=report, studies=studies, newest=newest)


def _read(ledger: Ledger, period: Period, billing: Billing) -> Facts:
    since, until = period.started_at, period.ended_at
    return Facts(
        sessions=[billing.apply(session) for session in ledger.sessions(since=since, until=until)],
        runs=ledger.runs_between(since, until),
        usage=ledger.usage_between(since, until),
        batches=ledger.batches_between(since, until),
        gpu_use=ledger.gpu_use_between(since, until),
    )


def _newest(ledger: Ledger) -> datetime | None:
    found: list[Session] = ledger.sessions(last=1)
    return found[0].started_at if found else None


def _beside_hosted(report: Report, now: datetime) -> list[BreakEven]:
    uses = model_uses(report)
    if not uses:
        return []
    from costctl.adapters.hosted import hosted_prices

    prices = hosted_prices(now)
    return [break_even(use, prices, _no_rate) for use in uses]


def _no_rate(micros: int, source: str, target: str) -> int | None:  # noqa: ARG001 - the shape of all rates
    return None


def written(loaded: Loaded, form: Form, words: Wording) -> bytes:
    """Return the report in `form`.

    Raises:
        MissingPieceError: the form needs an extra that is not installed.
    """
    from costctl.reports import documents

    if form is Form.TEXT:
        file = StringIO()
        print_report(loaded, words, file)
        return file.getvalue().encode()
    if form is Form.JSON:
        return documents.report_json(loaded.report, studies_object(loaded.studies)).encode()
    if form is Form.CSV:
        return documents.report_csv(loaded.report).encode()
    return _pages(_document(loaded, form, words), form, words)


def write_report(loaded: Loaded, form: Form, words: Wording, path: Path) -> None:
    """Write the report in `form` to a file.

    Raises:
        MissingPieceError: the form needs an extra that is not installed.
        CostctlError: the file cannot be written.
    """
    from costctl.adapters.files import replace_file

    replace_file(path, written(loaded, form, words))


def print_report(loaded: Loaded, words: Wording, file: TextIO | None = None) -> None:
    """Print the report to `file`, or to the terminal."""
    from costctl.reports.grid import console_for
    from costctl.reports.terminal import print_document

    print_document(_document(loaded, Form.TEXT, words), console_for(file), words)


def _document(loaded: Loaded, form: Form, words: Wording) -> Document:
    limit = None if form is Form.XLSX else SESSIONS_SHOWN
    return report_document(loaded.report, loaded.studies, words, limit=limit, newest=loaded.newest)


def _pages(document: Document, form: Form, words: Wording) -> bytes:
    if form is Form.XLSX:
        from costctl.reports.xlsx import write_xlsx

        file = BytesIO()
        write_xlsx(document, words, file)
        return file.getvalue()
    if form is Form.HTML:
        from costctl.adapters.vega import svg_renderer
        from costctl.reports.html import render_html

        return render_html(document, words, svg_renderer()).encode()
    from costctl.reports.markdown import render_markdown

    return render_markdown(document, words).encode()
