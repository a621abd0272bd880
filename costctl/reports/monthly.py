"""The report of a period as a document, in the order in which people read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.domain.standing import When
from costctl.reports.batches import batches_section
from costctl.reports.breakdowns import days_section, ends_section, models_section
from costctl.reports.caching import cache_section
from costctl.reports.comparison import comparison_section, no_comparison_section
from costctl.reports.forecast import forecast_section
from costctl.reports.gpu_use import gpu_section
from costctl.reports.hosted import hosted_section
from costctl.reports.names import period_name
from costctl.reports.outline import Amount, Column, Document, Prose, Section, Table
from costctl.reports.rates import rates_section
from costctl.reports.session_table import sessions_section
from costctl.reports.summary import phases_section, summary_section
from costctl.reports.tails import tails_section

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from costctl.domain.comparison import Comparison
    from costctl.reports.figures import Report
    from costctl.reports.outline import Chart
    from costctl.reports.studies import Studies
    from costctl.reports.wording import Wording


@dataclass(frozen=True, kw_only=True, slots=True)
class Charts:
    """The charts of a report; forms without pictures go without."""

    of_days: tuple[Chart, ...] = ()
    of_gpus: tuple[Chart, ...] = ()


NO_CHARTS = Charts()
SECTIONS = (
    "summary",
    "phases",
    "forecast",
    "days",
    "sessions",
    "models",
    "batches",
    "cache",
    "ends",
    "idle-tails",
    "comparison",
    "hosted",
    "gpus",
    "standing",
    "rates",
)
"""The keys of all sections that a report may have, in their order."""


def report_document(
    report: Report,
    studies: Studies,
    words: Wording,
    *,
    limit: int | None = None,
    charts: Charts = NO_CHARTS,
    newest: datetime | None = None,
    only: Collection[str] = (),
) -> Document:
    """Return the report as a document.

    Args:
        report: the figures.
        studies: what is said beyond them.
        words: the language.
        limit: how many sessions are told one by one.
        charts: the pictures, for forms that have them.
        newest: when the newest session began, for the report of a period without any.
        only: keys of `SECTIONS`; none is all.
    """
    period = report.period
    sections = _sections(report, studies, words, limit, charts) if report.rows else _empty(report, words, newest)
    return Document(
        title=words.say("GPU cost, {period}", period=period_name(period, words)),
        subtitle=words.say("times in {zone}", zone=period.zone),
        sections=tuple(section for section in sections if section is not None and (not only or section.key in only)),
        zone=period.zone,
    )


def _sections(
    report: Report, studies: Studies, words: Wording, limit: int | None, charts: Charts
) -> Iterator[Section | None]:
    yield summary_section(report, words)
    yield phases_section(report, words)
    yield forecast_section(studies.months, words)
    yield days_section(report, words, charts.of_days)
    yield sessions_section(report, words, limit)
    yield models_section(report, words)
    yield batches_section(report, words)
    yield cache_section(report, studies.cached, words)
    yield ends_section(report, words)
    yield tails_section(studies.windows, words)
    yield _comparison(studies.comparison, words, charts.of_gpus)
    yield hosted_section(studies.hosted, words)
    yield gpu_section(report, words)
    yield standing_section(report, words)
    yield rates_section(studies.rates, words)


def _comparison(found: Comparison | str | None, words: Wording, charts: Iterable[Chart]) -> Section | None:
    if isinstance(found, str):
        return no_comparison_section(found, words)
    return comparison_section(found, words, charts) if found else None


def standing_section(report: Report, words: Wording) -> Section | None:
    """Return the standing charges; None if there are none."""
    if not report.standing:
        return None
    rows = tuple(
        (
            figure.charge.name,
            Amount(micros=figure.charge.micros_per_month, currency=figure.charge.currency, per=words.say("month")),
            _when(figure.charge.when, words),
            Amount(micros=figure.cost_micros, currency=figure.charge.currency),
        )
        for figure in report.standing
    )
    columns = (
        Column(heading=words.say("standing charge"), shrinks=True),
        Column(heading=words.say("price"), numeric=True),
        Column(heading=words.say("when")),
        Column(heading=words.say("cost"), numeric=True, adds_up=True),
    )
    table = Table(key="standing", columns=columns, rows=rows)
    return Section(key="standing", title=words.say("Standing charges"), blocks=(table,))


def _when(when: When, words: Wording) -> str:
    return {
        When.ALWAYS: "",
        When.ON: words.say("while a machine is up"),
        When.OFF: words.say("while none is up"),
    }[when]


def _empty(report: Report, words: Wording, newest: datetime | None) -> Iterator[Section | None]:
    lines = [Prose(words.say("No session lies in {period}.", period=period_name(report.period, words)))]
    if newest is not None:
        day = words.moment(newest, report.period.zone, "day")
        lines.append(Prose(words.say("The newest session began on {day}.", day=day)))
    yield Section(key="summary", title=words.say("In short"), blocks=tuple(lines))
    yield standing_section(report, words)
