"""What the period's tokens would have cost at hosted APIs, model by model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costctl.domain.hosted import CURRENCY
from costctl.reports.exact import money, number, seconds
from costctl.reports.outline import Amount, Column, Count, Notes, Section, Share, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costctl.domain.hosted import BreakEven, HostedCost
    from costctl.reports.outline import Block, Cell
    from costctl.reports.wording import Wording


def hosted_section(found: Sequence[BreakEven], words: Wording) -> Section | None:
    """Return each model's use beside the cheapest hosted offers; None if no model was used."""
    if not found:
        return None
    offers = [_offers(place, result, words) for place, result in enumerate(found, 1) if result.offers]
    blocks: list[Block] = [_uses(found, words), *offers, Notes(tuple(_notes(found, words)))]
    return Section(key="hosted", title=words.say("Beside hosted APIs"), blocks=tuple(blocks))


def hosted_object(found: Sequence[BreakEven]) -> list[dict[str, Any]]:
    """Return the same for JSON."""
    return [
        {
            "model": result.use.model,
            "prompt_tokens": result.use.prompt_tokens,
            "generation_tokens": result.use.generated_tokens,
            "billed_seconds": seconds(result.use.billed),
            "busy_seconds": seconds(result.use.busy),
            "utilisation": number(result.use.utilisation),
            "tokens_per_busy_second": number(result.use.tokens_per_busy_second),
            "cost": money(result.use.cost_micros),
            "currency": result.use.currency,
            "same_model": bool(result.offers) and not result.is_stand_in,
            "offers": [_offer_object(cost) for cost in result.offers],
        }
        for result in found
    ]


def _offer_object(cost: HostedCost) -> dict[str, Any]:
    return {
        "provider": cost.price.provider,
        "model": cost.price.model,
        "input_usd_per_million_tokens": money(cost.price.input_micros),
        "output_usd_per_million_tokens": money(cost.price.output_micros),
        "dated": cost.price.dated.isoformat() if cost.price.dated else None,
        "source": cost.price.source,
        "cost_usd": money(cost.dollar_micros),
        "cost": money(cost.converted_micros),
        "saved_by_gpu": money(cost.saved_micros),
        "break_even_utilisation": number(cost.break_even),
        "never_at_this_throughput": cost.is_never,
    }


def _uses(found: Sequence[BreakEven], words: Wording) -> Table:
    columns = (
        Column(heading=words.say("model"), shrinks=True),
        Column(heading=words.say("tokens in"), numeric=True),
        Column(heading=words.say("tokens out"), numeric=True),
        Column(heading=words.say("tokens per busy second"), numeric=True),
        Column(heading=words.say("busy share"), numeric=True),
        Column(heading=words.say("cost of the GPU"), numeric=True),
    )
    return Table(key="hosted-use", columns=columns, rows=tuple(_use_row(result) for result in found))


def _use_row(result: BreakEven) -> tuple[Cell, ...]:
    use = result.use
    throughput, utilisation = use.tokens_per_busy_second, use.utilisation
    return (
        use.model,
        Count(use.prompt_tokens),
        Count(use.generated_tokens),
        None if throughput is None else Count(round(throughput)),
        None if utilisation is None else Share(utilisation),
        Amount(micros=use.cost_micros, currency=use.currency),
    )


def _offers(place: int, result: BreakEven, words: Wording) -> Table:
    columns = (
        Column(heading=words.say("hosted by")),
        Column(heading=words.say("as"), shrinks=True),
        Column(heading=words.say("dated")),
        Column(heading=words.say("{currency}/M in", currency=CURRENCY), numeric=True, names_unit=True),
        Column(heading=words.say("{currency}/M out", currency=CURRENCY), numeric=True, names_unit=True),
        Column(heading=words.say("would cost"), numeric=True),
        Column(heading=words.say("GPU saves"), numeric=True),
        Column(heading=words.say("breaks even at"), numeric=True),
    )
    title = words.say("{model}: beside another model of similar size", model=result.use.model)
    return Table(
        key=f"hosted-{place}",
        columns=columns,
        rows=tuple(_offer_row(result.use.currency, cost, words) for cost in result.offers),
        title=title if result.is_stand_in else result.use.model,
    )


def _offer_row(currency: str, cost: HostedCost, words: Wording) -> tuple[Cell, ...]:
    price = cost.price
    return (
        price.provider,
        price.model,
        f"{price.dated:%Y-%m-%d}" if price.dated else None,
        Amount(micros=price.input_micros, currency=CURRENCY, per="M"),
        Amount(micros=price.output_micros, currency=CURRENCY, per="M"),
        Amount(micros=cost.dollar_micros, currency=CURRENCY)
        if cost.converted_micros is None
        else Amount(micros=cost.converted_micros, currency=currency),
        None if cost.saved_micros is None else Amount(micros=cost.saved_micros, currency=currency),
        _break_even(cost, words),
    )


def _break_even(cost: HostedCost, words: Wording) -> Cell:
    if cost.break_even is None:
        return None
    if cost.is_never:
        return words.say("never ({share})", share=words.share(cost.break_even, 0))
    return Share(cost.break_even)


def _notes(found: Sequence[BreakEven], words: Wording) -> Iterator[str]:
    if any(cost.break_even is not None for result in found for cost in result.offers):
        yield words.say(
            "The GPU breaks even at the busy share of its billed time that makes it as cheap as the hosted tokens, "
            "with the throughput of this period. Never: not even if it were always busy. An engine that answers more "
            "requests at a time has a higher throughput, and breaks even earlier."
        )
    for result in found:
        yield from _doubts(result, words)
    sources = sorted({cost.price.source for result in found for cost in result.offers})
    if sources:
        yield words.say(
            "Hosted prices: {sources}; without discounts for cached prompts or batches, and as old as their source "
            "where their date is unknown.",
            sources=words.listed(sources),
        )


def _doubts(result: BreakEven, words: Wording) -> Iterator[str]:
    use = result.use
    if not result.offers:
        yield words.say("No hosted offer is known of {model}, or of a model of similar size.", model=use.model)
    if result.is_stand_in:
        yield words.say(
            "No hosted offer is known of {model}: the prices beside it are of another model of similar size.",
            model=use.model,
        )
    if any(cost.converted_micros is None for cost in result.offers):
        yield words.say(
            "Hosted prices are in {hosted}: without a rate to {currency} the break-even of {model} cannot be said.",
            hosted=CURRENCY,
            currency=use.currency,
            model=use.model,
        )
