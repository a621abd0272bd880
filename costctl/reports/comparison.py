"""A comparison of GPUs as a section of a document."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from costctl.domain.comparison import per_year
from costctl.domain.fit import Verdict
from costctl.domain.speed import Basis
from costctl.domain.workload import WEEK
from costctl.reports.assumptions import assumptions, remarks
from costctl.reports.comparison_answers import answers
from costctl.reports.comparison_details import market_text, memory_tables, offers_tables
from costctl.reports.outline import Amount, Column, Document, Length, Notes, Prose, Section, Share, Table
from costctl.reports.rates import rates_section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from fractions import Fraction

    from costctl.domain.comparison import Comparison, Row
    from costctl.domain.on_gpu import OnGpu
    from costctl.domain.rates import RateUse
    from costctl.reports.outline import Cell, Chart
    from costctl.reports.wording import Wording


def comparison_document(found: Comparison, rates: Sequence[RateUse], words: Wording) -> Document:
    """Return a comparison that stands alone, with the rates of exchange that it used."""
    section = comparison_section(found, words)
    sections = (replace(section, title=""), rates_section(rates, words))
    return Document(title=section.title, subtitle="", sections=tuple(filter(None, sections)), zone=ZoneInfo("UTC"))


def no_comparison_section(reason: str, words: Wording) -> Section:
    """Return why there is no comparison."""
    text = words.say("There is no comparison: {reason}.", reason=reason)
    return Section(key="comparison", title=words.say("Comparison of GPUs"), blocks=(Prose(text),))


def comparison_section(found: Comparison, words: Wording, charts: Iterable[Chart] = ()) -> Section:
    """Return what the workload would cost on other GPUs, with `charts` of it, and what that rests on."""
    return Section(
        key="comparison",
        title=words.say("Comparison of GPUs"),
        blocks=(
            Prose(_question(found, words)),
            _costs(found, words),
            *charts,
            *(Prose(sentence) for sentence in answers(found, words)),
            *_baseline(found, words),
            *memory_tables(found, words),
            *offers_tables(found, words),
            Notes((*assumptions(found, words), *remarks(found, words))),
        ),
    )


def verdict_text(on: OnGpu, words: Wording) -> str:
    """Return whether everything fits on a GPU."""
    match on.verdict:
        case Verdict.FITS:
            return words.say("yes")
        case Verdict.SHORTER:
            return words.say("shorter")
        case Verdict.TOO_LARGE:
            return words.say("no")
        case None:
            return words.say("unknown")


def basis_text(on: OnGpu, words: Wording) -> str:
    """Return in a word what the hours on a GPU rest on."""
    if on.weakest is None:
        return words.say("unchanged")
    if on.weakest.ground.basis is Basis.UNCHANGED and len(on.bases) > 1:
        return words.say("mixed")
    names = {
        "measured": words.say("measured"),
        "estimated": words.say("estimated"),
        "unchanged": words.say("unchanged"),
    }
    return names[on.weakest.ground.basis]


def _question(found: Comparison, words: Wording) -> str:
    workload = found.workload
    return words.count(
        "What the same work would cost on one of each GPU within {period}: as run (the machine is up only as it was) "
        "and always on.",
        "What the same work would cost on each GPU within {period}: as run (machines are up only as they were) and "
        "with {number} always on, as many as were up at once.",
        workload.machines,
        period=words.length(workload.period),
    )


def _costs(found: Comparison, words: Wording) -> Table:
    columns = (
        Column(heading=words.say("GPU")),
        Column(heading=words.say("market")),
        Column(heading=words.say("fits")),
        Column(heading=words.say("hours"), numeric=True),
        Column(heading=words.say("basis")),
        Column(heading=words.say("price"), numeric=True),
        Column(heading=words.say("as run"), numeric=True),
        Column(heading=words.say("always on"), numeric=True),
        Column(heading=words.say("saved"), numeric=True),
        Column(heading=words.say("1M tokens"), numeric=True),
    )
    return Table(key="costs", columns=columns, rows=tuple(_cost_cells(row, words) for row in found.rows))


def _cost_cells(row: Row, words: Wording) -> tuple[Cell, ...]:
    on = row.on
    return (
        on.gpu.name,
        market_text(row.market, words),
        verdict_text(on, words),
        *_hours(row, words),
        Amount(micros=row.price.micros_per_hour, currency=row.price.currency, per="h") if row.price else None,
        _amount(row, row.as_run_micros),
        _amount(row, row.always_on_micros),
        _share(row.less_than_always_on),
        _amount(row, row.micros_per_million_tokens),
    )


def _hours(row: Row, words: Wording) -> tuple[Cell, Cell]:
    if not row.is_possible:
        return "", ""
    return None if row.on.as_run is None else Length(row.on.as_run, "hours"), basis_text(row.on, words)


def _amount(row: Row, micros: int | None) -> Amount | str:
    if not row.is_possible:
        return ""
    return "" if row.price is None or micros is None else Amount(micros=micros, currency=row.price.currency)


def _share(fraction: Fraction | None) -> Share | str:
    return "" if fraction is None else Share(fraction)


def _baseline(found: Comparison, words: Wording) -> Iterator[Table]:
    held = found.held
    if held is None:
        return
    label = words.say("baseline: {what}", what=_rented(held.row, words, always_on=held.baseline.is_always_on))
    rows: list[tuple[Cell, ...]] = [(label, "", *_in_period_and_year(held.row, held.micros))]
    for row in filter(lambda row: row.is_possible, found.rows):
        less = _share(found.less_than_baseline(row))
        rows.append((_rented(row, words, always_on=False), less, *_in_period_and_year(row, row.as_run_micros)))
    columns = [
        Column(heading=words.say("rented")),
        Column(heading=words.say("less"), numeric=True),
        Column(heading=words.say("in {period}", period=words.length(found.workload.period)), numeric=True),
    ]
    if found.workload.period == WEEK:
        columns.append(Column(heading=words.say("in 52 weeks"), numeric=True))
    yield Table(key="baseline", title=words.say("Before and after"), columns=tuple(columns), rows=tuple(rows))


def _rented(row: Row, words: Wording, *, always_on: bool) -> str:
    use = words.say("always on") if always_on else words.say("as run")
    several = f"{words.number(row.machines)}x " if always_on and row.machines > 1 else ""
    return f"{several}{row.on.gpu.name} {market_text(row.market, words)} {use}"


def _in_period_and_year(row: Row, micros: int | None) -> tuple[Cell, ...]:
    """Return a cost, and if the period is a week also that of a year."""
    amounts = (micros, per_year(micros, row.period)) if row.period == WEEK else (micros,)
    currency = row.price.currency if row.price else ""
    return tuple("" if amount is None else Amount(micros=amount, currency=currency) for amount in amounts)
