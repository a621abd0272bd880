"""What stands behind a comparison of GPUs: the memory that models need, and where prices are from."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.domain.fit import GIB
from costctl.domain.offers import Market
from costctl.reports.outline import Column, Count, Moment, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.domain.comparison import Comparison, Row
    from costctl.domain.fit import Fit
    from costctl.domain.offers import Offer
    from costctl.reports.outline import Cell
    from costctl.reports.wording import Wording


def market_text(market: Market, words: Wording) -> str:
    """Return on which terms a GPU is rented."""
    return words.say("spot") if market is Market.SPOT else words.say("on-demand")


def memory_tables(found: Comparison, words: Wording) -> Iterator[Table]:
    """Yield a table of the memory that the model needs which has least room on each GPU, if any is known."""
    fits = [
        min(
            ((on.gpu.name, part.load.model or "", part.fit) for part in on.parts if part.fit is not None),
            key=lambda row: _room(row[2]),
            default=None,
        )
        for on in found.gpus
    ]
    rows = [(gpu, model, *_memory_cells(fit, words)) for gpu, model, fit in filter(None, fits)]
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
    title = words.say("Memory in GiB of the model with least room, with one request of the whole context")
    yield Table(key="memory", title=title, columns=columns, rows=tuple(rows))


def _room(fit: Fit) -> tuple[float, int]:
    """Return how many requests of the whole context have room, and by how much the weights alone exceed it."""
    return fit.kv_tokens / fit.context, -fit.weights_bytes


def _memory_cells(fit: Fit, words: Wording) -> tuple[Cell, ...]:
    sizes = (fit.weights_bytes, fit.kv_bytes, fit.overhead_bytes, fit.available_bytes)
    gib = (words.number(Fraction(size, GIB), 1) for size in sizes)
    return (*gib, Count(fit.context), Count(fit.sequences()))


def offers_tables(found: Comparison, words: Wording) -> Iterator[Table]:
    """Yield a table of the offers behind the prices, if there are any."""
    rows = tuple(_offer_cells(row, row.offer, words) for row in found.rows if row.offer)
    if not rows:
        return
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
    yield Table(key="offers", title=words.say("Where the prices are from"), columns=columns, rows=rows)


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
        "not yet valid": words.say("not yet valid"),
        "spot as dear as on-demand": words.say("spot as dear as on-demand"),
    }
    said = [known.get(doubt, doubt) for doubt in row.doubts]
    if row.converted_from:
        said.append(words.say("converted from {currency}", currency=row.converted_from))
    return words.listed(said)
