"""What comes first in a report: the bill in a few numbers, and what its hours were."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.reports.figures import WASTE
from costctl.reports.names import phase_names
from costctl.reports.outline import Amount, Column, Count, Figure, Figures, Length, Notes, Section, Share, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from costctl.reports.figures import CurrencyTotal, Report
    from costctl.reports.outline import Block, Cell, TimeUnit
    from costctl.reports.wording import Wording

MILLION = 1_000_000
_A_FEW_MINUTES = timedelta(minutes=10)
_A_FEW_HOURS = timedelta(hours=10)


def summary_section(report: Report, words: Wording) -> Section:
    """Return the headline: what the period cost, for how much use, and how much of that was waste."""
    names = phase_names(words)
    waste = words.listed(names[phase] for phase in WASTE)
    notes = [words.say("Waste is what was paid while nothing was answered: {phases}.", phases=waste)]
    blocks: list[Block] = [Figures(tuple(_headline(report, words)))]
    if report.unpriced:
        notes.extend(_unpriced(report, words))
    return Section(key="summary", title=words.say("In short"), blocks=(*blocks, Notes(tuple(notes))))


def phases_section(report: Report, words: Wording) -> Section:
    """Return how the time and the money went by phase."""
    whole, names = report.length, phase_names(words)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            names[phase],
            Length(length, time_unit(report)),
            Share(part_of(length, whole)),
            *(Amount(micros=total.phase_micros.get(phase, 0), currency=total.currency) for total in report.totals),
        )
        for phase, length in report.phase_lengths.items()
    )
    table = Table(
        key="phases",
        columns=(
            Column(heading=words.say("phase")),
            time_column(report, words),
            Column(heading=words.say("share"), numeric=True),
            *cost_columns(report, words),
        ),
        rows=rows,
        footer=(
            words.say("all"),
            Length(whole, time_unit(report)),
            None,
            *(Amount(micros=total.cost_micros, currency=total.currency) for total in report.totals),
        ),
    )
    return Section(key="phases", title=words.say("Where the hours went"), blocks=(table,))


def time_unit(report: Report) -> TimeUnit:
    """Return in what a report tells times: hours, or something smaller where there are only a few."""
    if report.length < _A_FEW_MINUTES:
        return "seconds"
    return "hours" if report.length >= _A_FEW_HOURS else "minutes"


def time_column(report: Report, words: Wording) -> Column:
    """Return the column for times in that unit."""
    headings = {"seconds": words.say("seconds"), "minutes": words.say("minutes"), "hours": words.say("hours")}
    return Column(heading=headings[time_unit(report)], numeric=True, adds_up=True)


def cost_columns(report: Report, words: Wording) -> Iterator[Column]:
    """Yield a column for the cost in each currency of the report."""
    for total in report.totals:
        heading = words.say("cost, {currency}", currency=total.currency)
        yield Column(heading=heading, numeric=True, adds_up=True, names_unit=True)


def part_of(length: timedelta, whole: timedelta) -> Fraction:
    """Return which part of `whole` a length is; of nothing, nothing."""
    return Fraction(length.total_seconds()) / Fraction(whole.total_seconds()) if whole else Fraction(0)


def per(micros: int, count: int, unit: int) -> int | None:
    """Return what `unit` of something costs if `count` of it cost `micros`; None if there was none."""
    return round(Fraction(micros * unit, count)) if count else None


def _headline(report: Report, words: Wording) -> Iterator[Figure]:
    for total in report.totals:
        yield Figure(label=words.say("total"), value=Amount(micros=total.cost_micros, currency=total.currency))
    if not report.totals:
        yield Figure(label=words.say("total"), value=None, note=words.say("no session has a price"))
    yield from _with_standing(report, words)
    sessions = words.count("{number} session", "{number} sessions", len(report.rows))
    yield Figure(label=words.say("time up"), value=Length(report.length, time_unit(report)), note=sessions)
    requests = sum(use.requests for use in report.usage)
    tokens = sum(use.tokens for use in report.usage)
    yield Figure(label=words.say("requests"), value=Count(requests), note=_tokens(report, tokens, words))
    for total in report.totals:
        yield from _unit_costs(total, words)
    for total in report.totals:
        yield _waste(total, words)


def _with_standing(report: Report, words: Wording) -> Iterator[Figure]:
    if report.standing:
        for currency, micros in report.costs_with_standing.items():
            label = words.say("with standing charges")
            yield Figure(label=label, value=Amount(micros=micros, currency=currency))


def _tokens(report: Report, tokens: int, words: Wording) -> str:
    written = sum(use.generation_tokens for use in report.usage)
    return words.say(
        "{tokens} tokens, {written} of them generated", tokens=words.number(tokens), written=words.number(written)
    )


def _unit_costs(total: CurrencyTotal, words: Wording) -> Iterator[Figure]:
    idle_included = words.say("all of the bill, idle time included")
    for label, count, unit in (
        (words.say("per 1,000 requests"), total.requests, 1000),
        (words.say("per million tokens"), total.tokens, MILLION),
    ):
        micros = per(total.cost_micros, count, unit)
        if micros is not None:
            yield Figure(label=label, value=Amount(micros=micros, currency=total.currency), note=idle_included)


def _waste(total: CurrencyTotal, words: Wording) -> Figure:
    share = Fraction(total.waste_micros, total.cost_micros) if total.cost_micros else Fraction(0)
    note = words.say("{share} of the bill", share=words.share(share))
    return Figure(label=words.say("waste"), value=Amount(micros=total.waste_micros, currency=total.currency), note=note)


def _unpriced(report: Report, words: Wording) -> Iterable[str]:
    yield words.count(
        "{number} session of unknown price ({length}) is in no sum of money.",
        "{number} sessions of unknown price ({length}) are in no sum of money.",
        len(report.unpriced),
        length=words.length(report.unpriced_length),
    )
    yield words.say("Say what an hour costs with `costctl serve --price '1.8 CNY/h'` or in the configuration.")
