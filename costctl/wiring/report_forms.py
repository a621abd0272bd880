"""A report in the form that was asked for: to print, to write to a file, to send."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from io import BytesIO, StringIO
from typing import TYPE_CHECKING

from costctl.domain.comparison import Comparison
from costctl.reports.monthly import NO_CHARTS, Charts, report_document

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from typing import TextIO

    from costctl.domain.messages import Message
    from costctl.reports.outline import Document
    from costctl.reports.wording import Wording
    from costctl.wiring.reports import Loaded

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


def written(loaded: Loaded, form: Form, words: Wording, only: Collection[str] = ()) -> bytes:
    """Return the report in `form`, or `only` some of its sections in those that people read.

    Raises:
        MissingPieceError: the form needs an extra that is not installed.
    """
    if form is Form.TEXT:
        file = StringIO()
        print_report(loaded, words, file, only)
        return file.getvalue().encode()
    if form is Form.JSON:
        from costctl.reports.report_json import report_json

        return report_json(loaded.report, loaded.studies).encode()
    if form is Form.CSV:
        from costctl.reports.report_csv import report_csv

        return report_csv(loaded.report).encode()
    return _pages(document_of(loaded, form, words, only), form, words)


def write_report(loaded: Loaded, form: Form, words: Wording, path: Path, only: Collection[str] = ()) -> None:
    """Write the report in `form` to a file.

    Raises:
        MissingPieceError: the form needs an extra that is not installed.
        CostctlError: the file cannot be written.
    """
    from costctl.adapters.files import replace_file

    replace_file(path, written(loaded, form, words, only))


def print_report(loaded: Loaded, words: Wording, file: TextIO | None = None, only: Collection[str] = ()) -> None:
    """Print the report to `file`, or to the terminal."""
    from costctl.reports.printing import console_for
    from costctl.reports.terminal import print_document

    print_document(document_of(loaded, Form.TEXT, words, only), console_for(file), words)


def message_of(loaded: Loaded, words: Wording) -> Message:
    """Return the report as a message: its headline to read at once, and the page beside it."""
    document = document_of(loaded, Form.MARKDOWN, words)
    from costctl.domain.messages import Attachment, BodyFormat, Message
    from costctl.reports.markdown import render_markdown

    head = replace(document, sections=document.sections[:1])
    name = f"costctl-{loaded.report.period.label.replace(' ', '-')}"
    return Message(
        title=document.title,
        body=render_markdown(head, words),
        body_format=BodyFormat.MARKDOWN,
        attachments=(Attachment(name=f"{name}.html", content=written(loaded, Form.HTML, words)),),
    )


def document_of(loaded: Loaded, form: Form, words: Wording, only: Collection[str] = ()) -> Document:
    """Return the report as it is rendered in `form`: with charts and all its sessions, or without."""
    return report_document(
        loaded.report,
        loaded.studies,
        words,
        limit=None if form is Form.XLSX else SESSIONS_SHOWN,
        charts=_charts(loaded, words) if form in {Form.HTML, Form.MARKDOWN} and loaded.report.rows else NO_CHARTS,
        newest=loaded.newest,
        only=only,
    )


def _charts(loaded: Loaded, words: Wording) -> Charts:
    from costctl.reports.comparison_charts import comparison_charts
    from costctl.reports.period_charts import period_charts

    comparison = loaded.studies.comparison
    return Charts(
        of_days=tuple(period_charts(loaded.report, words)),
        of_gpus=tuple(comparison_charts(comparison, words)) if isinstance(comparison, Comparison) else (),
    )


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
