"""A comparison of GPUs as a section of a document."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from costctl.domain.comparison import per_year, share_less
from costctl.domain.fit import GIB, Verdict
from costctl.domain.offers import Market
from costctl.domain.workload import WEEK
from costctl.reports.assumptions import assumptions, remarks
from costctl.reports.outline import Amount, Column, Count, Document, Length, Moment, Notes, Prose, Section, Share, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.domain.comparison import Comparison, OnGpu, Row
    from costctl.domain.fit import Fit
    from costctl.domain.offers import Offer
    from costctl.reports.outline import Cell
    from costctl.reports.wording import Wording


def comparison_document(found: Comparison, words: Wording) -> Document:
    """Return a comparison that stands alone."""
    section = comparison_section(found, words)
    return Document(title=section.title, subtitle="", sections=(replace(section, title=""),), zone=ZoneInfo("UTC"))


def comparison_section(found: Comparison, words: Wording) -> Section:
    """Return what the workload would cost on other GPUs, whether it fits there, and what that rests on."""
    return Section(
        key="comparison",
        title=words.say("Comparison of GPUs"),
        blocks=(
            Prose(_question(found, words)),
            _costs(found, words),
            *(Prose(sentence) for sentence in _answers(found, words)),
            *_baseline(found, words),
            *_fits(found, words),
            _offers(found, words),
            Notes((*assumptions(found, words), *remarks(found, words))),
        ),
    )


def market_text(market: Market, words: Wording) -> str:
    """Return on which terms a GPU is rented."""
    return words.say("spot") if market is Market.SPOT else words.say("on-demand")


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
    names = {
        "measured": words.say("measured"),
        "estimated": words.say("estimated"),
        "unchanged": words.say("unchanged"),
    }
    return names[on.weakest.ground.basis]


def _question(found: Comparison, words: Wording) -> str:
    return words.say(
        "What the same work would cost on one of each GPU within {period}: as run (the machine is up only as it was) "
        "and always on.",
        period=words.length(found.workload.period),
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
        _share(share_less(row.as_run_micros, row.always_on_micros) if row.is_possible else None),
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


def _answers(found: Comparison, words: Wording) -> Iterator[str]:
    for currency in found.currencies:
        yield from _cheapest(found, currency, words)
        yield from _before_and_after(found, currency, words)


def _cheapest(found: Comparison, currency: str, words: Wording) -> Iterator[str]:
    spent = found.spent_micros(currency)
    if found.is_none_cheaper(currency) and spent is not None:
        yield words.say("None is cheaper than what you have: {spent}.", spent=words.amount(spent, currency, 2))
    row = found.cheapest(currency)
    if row is None or row.as_run_micros is None:
        yield words.say("No GPU that fits has a price in {currency}.", currency=currency)
        return
    cheapest = words.say(
        "{gpu} {market}, {amount}",
        gpu=row.on.gpu.name,
        market=market_text(row.market, words),
        amount=words.amount(row.as_run_micros, currency, 2),
    )
    if row.on.verdict is None:
        yield words.say("The cheapest in {currency}, if it fits: {cheapest}.", currency=currency, cheapest=cheapest)
    else:
        yield words.say("The cheapest that fits, in {currency}: {cheapest}.", currency=currency, cheapest=cheapest)


def _before_and_after(found: Comparison, currency: str, words: Wording) -> Iterator[str]:
    spent, always_on = found.spent_micros(currency), found.always_on_micros(currency)
    less = share_less(spent, always_on)
    if spent is None or always_on is None or less is None:
        return
    yield words.say(
        "Always on, the GPUs that were used would have cost {always_on}; it was {spent}, {share} less.",
        always_on=words.amount(always_on, currency, 2),
        spent=words.amount(spent, currency, 2),
        share=words.share(less),
    )


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
    return f"{row.on.gpu.name} {market_text(row.market, words)} {use}"


def _in_period_and_year(row: Row, micros: int | None) -> tuple[Cell, ...]:
    """Return a cost, and if the period is a week also that of a year."""
    amounts = (micros, per_year(micros, row.period)) if row.period == WEEK else (micros,)
    currency = row.price.currency if row.price else ""
    return tuple("" if amount is None else Amount(micros=amount, currency=currency) for amount in amounts)


def _fits(found: Comparison, words: Wording) -> Iterator[Table]:
    rows = [
        (on.gpu.name, part.load.model or "", *_memory_cells(part.fit, words))
        for on in found.gpus
        for part in on.parts
        if part.fit is not None
    ]
    if not rows:
        return
    columns = (
        Column(heading=words.say("GPU")),
        Column(heading=words.say("model"), shrinks=True),
        Column(heading=words.say("weights"), numeric=True),
        Column(heading=words.say("KV cache"), numeric=True),
        Column(heading=words.say("overhead"), numeric=True),
        Column(heading=words.say("of usable"), numeric=True),
        Column(heading=words.say("context"), numeric=True),
        Column(heading=words.say("at once"), numeric=True),
    )
    title = words.say("Memory in GiB, with one request of the whole context")
    yield Table(key="memory", title=title, columns=columns, rows=tuple(rows))


def _memory_cells(fit: Fit, words: Wording) -> tuple[Cell, ...]:
    sizes = (fit.weights_bytes, fit.kv_bytes, fit.overhead_bytes, fit.available_bytes)
    gib = (words.number(Fraction(size, GIB), 1) for size in sizes)
    return (*gib, Count(fit.context), Count(fit.sequences()))


def _offers(found: Comparison, words: Wording) -> Table:
    columns = (
        Column(heading=words.say("GPU")),
        Column(heading=words.say("market")),
        Column(heading=words.say("provider")),
        Column(heading=words.say("type"), shrinks=True),
        Column(heading=words.say("region")),
        Column(heading=words.say("GPUs"), numeric=True),
        Column(heading=words.say("price of"), numeric=True),
        Column(heading=""),
    )
    rows = tuple(_offer_cells(row, row.offer, words) for row in found.rows if row.offer)
    return Table(key="offers", title=words.say("Where the prices are from"), columns=columns, rows=rows)


def _offer_cells(row: Row, offer: Offer, words: Wording) -> tuple[Cell, ...]:
    any_ = words.say("any")
    places = (offer.provider or any_, offer.instance_type or any_, offer.region or any_)
    dated: Cell = Moment(offer.since, "day") if offer.since else words.say("unknown")
    return (
        row.on.gpu.name,
        market_text(row.market, words),
        *places,
        Count(offer.gpu_count),
        dated,
        _doubts(row, words),
    )


def _doubts(row: Row, words: Wording) -> str:
    known = {
        "old": words.say("old"),
        "age unknown": words.say("age unknown"),
        "spot as dear as on-demand": words.say("spot as dear as on-demand"),
    }
    return ", ".join(known.get(doubt, doubt) for doubt in row.doubts)
