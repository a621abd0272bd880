"""A period by day, by model, by how sessions ended, and batches apart from serving."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, TypeVar

from costctl.domain.sessions import Phase
from costctl.reports.figures import NOTHING, WASTE
from costctl.reports.names import reason_name
from costctl.reports.outline import Amount, Column, Count, Length, Moment, Prose, Section, Share, Table
from costctl.reports.summary import MILLION, cost_columns, part_of, per, time_column, time_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from costctl.reports.figures import BatchFigure, Part, Report, SessionFigure, Usage
    from costctl.reports.outline import Block, Cell
    from costctl.reports.wording import Wording

    K = TypeVar("K")

MANY_DAYS = 62
"""Longer periods are told by month."""
MOST_BATCHES = 30
"""Of more names the costliest are told one by one."""


def days_section(report: Report, words: Wording, charts: Iterable[Block] = ()) -> Section:
    """Return what each day (or month, of a long period) cost, with `charts` of the same before it."""
    unit = time_unit(report)
    by_month = len(report.period.days) > MANY_DAYS
    name = _month_of if by_month else _same
    parts = report.parts(lambda piece: name(piece.day))
    busy = report.parts(lambda piece: (name(piece.day), piece.phase is Phase.BUSY))
    wasted = report.parts(lambda piece: (name(piece.day), piece.phase in WASTE))
    usage = _usage_by(report.usage, lambda use: name(use.day))
    first: dict[date, datetime] = {}
    for day in report.period.days:
        first.setdefault(name(day.date), day.started_at)
    rows = tuple(
        (
            f"{day:%Y-%m}" if by_month else Moment(first[day], "day"),
            Length(parts[day].length, unit),
            Length(_length(busy.get((day, True))), unit),
            Length(_length(wasted.get((day, True))), unit),
            Count(usage[day][0]),
            Count(usage[day][1]),
            *_costs(report, parts[day]),
        )
        for day in sorted(parts)
    )
    table = Table(
        key="days",
        columns=(
            Column(heading=words.say("month") if by_month else words.say("day")),
            time_column(report, words),
            Column(heading=words.say("busy"), numeric=True, adds_up=True),
            Column(heading=words.say("waste"), numeric=True, adds_up=True),
            Column(heading=words.say("requests"), numeric=True),
            Column(heading=words.say("tokens"), numeric=True),
            *cost_columns(report, words),
        ),
        rows=rows,
        footer=(
            words.say("all"),
            Length(report.length, unit),
            Length(_of_phases(report, (Phase.BUSY,)), unit),
            Length(_of_phases(report, WASTE), unit),
            Count(sum(requests for requests, _ in usage.values())),
            Count(sum(tokens for _, tokens in usage.values())),
            *_totals(report),
        ),
    )
    title = words.say("By month") if by_month else words.say("By day")
    return Section(key="days", title=title, blocks=(*charts, table))


def models_section(report: Report, words: Wording) -> Section:
    """Return what each model was used for and cost, its starts and idle times included."""
    unit = time_unit(report)
    parts = report.parts(lambda piece: piece.model)
    busy = report.parts(lambda piece: (piece.model, piece.phase is Phase.BUSY))
    usage: dict[str | None, tuple[int, int]] = dict(_usage_by(report.usage, lambda use: use.model))
    names = sorted({*parts, *usage}, key=lambda model: (model is None, model or ""))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            words.say("no engine up") if model is None else model,
            Length(_length(parts.get(model)), unit),
            Length(_length(busy.get((model, True))), unit),
            Count(usage.get(model, (0, 0))[0]),
            Count(usage.get(model, (0, 0))[1]),
            *_costs(report, parts.get(model)),
            *_per_million(report, parts.get(model), usage.get(model, (0, 0))[1]),
        )
        for model in names
    )
    table = Table(
        key="models",
        columns=(
            Column(heading=words.say("model"), shrinks=True),
            time_column(report, words),
            Column(heading=words.say("busy"), numeric=True, adds_up=True),
            Column(heading=words.say("requests"), numeric=True),
            Column(heading=words.say("tokens"), numeric=True),
            *cost_columns(report, words),
            *(
                Column(heading=words.say("{currency}/M tokens", currency=total.currency), numeric=True, names_unit=True)
                for total in report.totals
            ),
        ),
        rows=rows,
    )
    return Section(key="models", title=words.say("By model"), blocks=(table,))


def ends_section(report: Report, words: Wording) -> Section:
    """Return how sessions ended, with what each kind cost."""
    unit = time_unit(report)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            reason_name(reason, words),
            Count(len(ended)),
            Length(sum((row.length for row in ended), NOTHING), unit),
            *(_cost_of_rows(ended, total.currency) for total in report.totals),
        )
        for reason, ended in report.rows_by_end.items()
    )
    table = Table(
        key="ends",
        columns=(
            Column(heading=words.say("end")),
            Column(heading=words.say("sessions"), numeric=True),
            time_column(report, words),
            *cost_columns(report, words),
        ),
        rows=rows,
        footer=(words.say("all"), Count(len(report.rows)), Length(report.length, unit), *_totals(report)),
    )
    return Section(key="ends", title=words.say("How sessions ended"), blocks=(table,))


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
                Length(_length(parts.get(in_batch)), unit),
                Share(part_of(_length(parts.get(in_batch)), report.length)),
                *_costs(report, parts.get(in_batch)),
            )
            for in_batch in (True, False)
        ),
        footer=(words.say("all"), Length(report.length, unit), None, *_totals(report)),
    )
    return Section(key="batches", title=words.say("Batches"), blocks=(kinds, _batch_table(report, words)))


def gpu_section(report: Report, words: Wording) -> Section | None:
    """Return how hard the GPUs worked while they were looked at; None if they never were."""
    if not report.gpu_use:
        return None
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            use.gpu,
            Length(timedelta(minutes=use.minutes), "hours"),
            "-" if use.mean_utilisation_percent is None else f"{use.mean_utilisation_percent} %",
            f"{use.peak_memory_bytes / 2**30:.1f} GiB",
            "-" if use.mean_milliwatts is None else f"{use.mean_milliwatts / 1000:.0f} W",
        )
        for use in report.gpu_use
    )
    columns = (
        Column(heading=words.say("GPU"), shrinks=True),
        Column(heading=words.say("hours"), numeric=True),
        Column(heading=words.say("mean use"), numeric=True),
        Column(heading=words.say("most memory"), numeric=True),
        Column(heading=words.say("mean power"), numeric=True),
    )
    seen = words.say("Over the minutes in which an engine was up; the driver's own figures.")
    table = Table(key="gpus", columns=columns, rows=rows)
    return Section(key="gpus", title=words.say("GPU use"), blocks=(table, Prose(seen)))


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


def _costs(report: Report, part: Part | None) -> Iterator[Amount]:
    for total in report.totals:
        yield Amount(micros=part.micros.get(total.currency, 0) if part else 0, currency=total.currency)


def _totals(report: Report) -> Iterator[Amount]:
    for total in report.totals:
        yield Amount(micros=total.cost_micros, currency=total.currency)


def _per_million(report: Report, part: Part | None, tokens: int) -> Iterator[Cell]:
    for total in report.totals:
        micros = per(part.micros.get(total.currency, 0), tokens, MILLION) if part else None
        yield Amount(micros=micros, currency=total.currency) if micros else "-"


def _cost_of_rows(rows: Iterable[SessionFigure], currency: str) -> Amount:
    return Amount(micros=sum(row.cost_micros or 0 for row in rows if row.currency == currency), currency=currency)


def _usage_by(usage: Iterable[Usage], key: Callable[[Usage], K]) -> defaultdict[K, tuple[int, int]]:
    found: defaultdict[K, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for use in usage:
        requests, tokens = found[key(use)]
        found[key(use)] = (requests + use.requests, tokens + use.tokens)
    return found


def _length(part: Part | None) -> timedelta:
    return part.length if part else NOTHING


def _of_phases(report: Report, phases: Iterable[Phase]) -> timedelta:
    return sum((report.phase_lengths.get(phase, NOTHING) for phase in phases), NOTHING)


def _same(day: date) -> date:
    return day


def _month_of(day: date) -> date:
    return day.replace(day=1)
