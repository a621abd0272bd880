"""Batches apart from serving, and what those of each name came to."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from costctl.domain.batches import Outcome
from costctl.reports.breakdowns import costs_of, length_of_part, totals_of
from costctl.reports.figures import NOTHING
from costctl.reports.outline import Amount, Column, Count, Length, Notes, Section, Share, Table
from costctl.reports.summary import cost_columns, part_of, time_column, time_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from costctl.reports.figures import BatchFigure, Report
    from costctl.reports.outline import Cell
    from costctl.reports.wording import Wording

MOST_BATCHES = 30
"""Of more names the costliest are told one by one."""


def batches_section(report: Report, words: Wording) -> Section | None:
    """Return batches apart from serving; None if there were no batches."""
    unit = time_unit(report)
    if not report.batches:
        return None
    parts = report.parts(lambda piece: piece.in_batch)
    kinds = Table(
        key="batch-or-serving",
        columns=(
            Column(heading=words.say("work")),
            time_column(report, words),
            Column(heading=words.say("share"), numeric=True),
            *cost_columns(report, words),
        ),
        rows=tuple(
            (
                words.say("batches") if in_batch else words.say("serving, and all time between"),
                Length(length_of_part(parts.get(in_batch)), unit),
                Share(part_of(length_of_part(parts.get(in_batch)), report.length)),
                *costs_of(report, parts.get(in_batch)),
            )
            for in_batch in (True, False)
        ),
        footer=(words.say("all"), Length(report.length, unit), None, *totals_of(report)),
    )
    return Section(
        key="batches", title=words.say("Batches"), blocks=(kinds, _batch_table(report, words), *_notes(report, words))
    )


def _notes(report: Report, words: Wording) -> Iterator[Notes]:
    lost = sum(1 for batch in report.batches if batch.outcome == Outcome.LOST)
    if lost:
        told = words.count(
            "{number} run ended with a daemon that was killed: it is known up to the last heartbeat.",
            "{number} runs ended with a daemon that was killed: they are known up to the last heartbeat.",
            lost,
        )
        yield Notes((told,))


def _batch_table(report: Report, words: Wording) -> Table:
    by_name: defaultdict[tuple[str, str | None], list[BatchFigure]] = defaultdict(list)
    for batch in report.batches:
        by_name[batch.name, batch.currency].append(batch)
    names = sorted(by_name, key=lambda name: _batch_cost(by_name[name]), reverse=True)
    rows = [_batch_row(name, by_name[name, currency], currency) for name, currency in names[:MOST_BATCHES]]
    for currency in sorted({currency or "" for _, currency in names[MOST_BATCHES:]}):
        rest = [name for name in names[MOST_BATCHES:] if (name[1] or "") == currency]
        others = words.count("{number} other", "{number} others", len(rest))
        rows.append(_batch_row(others, [batch for name in rest for batch in by_name[name]], currency or None))
    columns = (
        Column(heading=words.say("batch"), shrinks=True),
        Column(heading=words.say("runs"), numeric=True),
        Column(heading=words.say("minutes"), numeric=True),
        Column(heading=words.say("requests"), numeric=True),
        Column(heading=words.say("failed"), numeric=True),
        Column(heading=words.say("tokens"), numeric=True),
        Column(heading=words.say("cost"), numeric=True),
    )
    return Table(key="batch-list", columns=columns, rows=tuple(rows), title=words.say("Each batch"))


def _batch_row(name: str, batches: Sequence[BatchFigure], currency: str | None) -> tuple[Cell, ...]:
    return (
        name,
        Count(len(batches)),
        Length(sum((batch.length for batch in batches), NOTHING), "minutes"),
        Count(sum(batch.requests for batch in batches)),
        Count(sum(batch.failed_requests for batch in batches)),
        Count(sum(batch.prompt_tokens + batch.generation_tokens for batch in batches)),
        Amount(micros=_batch_cost(batches), currency=currency) if currency else None,
    )


def _batch_cost(batches: Iterable[BatchFigure]) -> int:
    return sum(batch.cost_micros or 0 for batch in batches)
