"""A period by day, by model, and by how sessions ended."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from costctl.domain.sessions import Phase
from costctl.reports.figures import NOTHING, WASTE
from costctl.reports.names import reason_name
from costctl.reports.outline import Amount, Column, Count, Length, Moment, Section, Table
from costctl.reports.summary import MILLION, cost_columns, per, time_column, time_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date, datetime, timedelta

    from costctl.reports.figures import Part, Report, SessionFigure, Usage
    from costctl.reports.outline import Block, Cell
    from costctl.reports.wording import Wording

    K = TypeVar("K")

MANY_DAYS = 62
"""Longer periods are told by month."""


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
            Length(length_of_part(busy.get((day, True))), unit),
            Length(length_of_part(wasted.get((day, True))), unit),
            Count(usage[day][0]),
            Count(usage[day][1]),
            *costs_of(report, parts[day]),
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
            *totals_of(report),
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
            Length(length_of_part(parts.get(model)), unit),
            Length(length_of_part(busy.get((model, True))), unit),
            Count(usage.get(model, (0, 0))[0]),
            Count(usage.get(model, (0, 0))[1]),
            *costs_of(report, parts.get(model)),
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
        footer=(words.say("all"), Count(len(report.rows)), Length(report.length, unit), *totals_of(report)),
    )
    return Section(key="ends", title=words.say("How sessions ended"), blocks=(table,))


def costs_of(report: Report, part: Part | None) -> Iterator[Amount]:
    """Yield what a part cost in each currency of the report."""
    for total in report.totals:
        yield Amount(micros=part.micros.get(total.currency, 0) if part else 0, currency=total.currency)


def totals_of(report: Report) -> Iterator[Amount]:
    """Yield what all of it cost in each currency."""
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


def length_of_part(part: Part | None) -> timedelta:
    """Return how long a part took; one that did not occur took no time."""
    return part.length if part else NOTHING


def _of_phases(report: Report, phases: Iterable[Phase]) -> timedelta:
    return sum((report.phase_lengths.get(phase, NOTHING) for phase in phases), NOTHING)


def _same(day: date) -> date:
    return day


def _month_of(day: date) -> date:
    return day.replace(day=1)
