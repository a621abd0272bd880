"""What a comparison of GPUs comes to, in sentences."""

from __future__ import annotations

from collections import defaultdict
from enum import Enum, auto
from typing import TYPE_CHECKING

from costctl.domain.comparison import Lack, share_less
from costctl.domain.fit import Verdict
from costctl.domain.offers import Market
from costctl.reports.comparison_details import market_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costctl.domain.comparison import Comparison
    from costctl.domain.on_gpu import Part
    from costctl.reports.wording import Wording


class _Problem(Enum):
    """What is wrong with the memory of a GPU for a model."""

    MODEL = auto()
    REQUESTS = auto()
    CONTEXT = auto()
    NONE = auto()


def answers(found: Comparison, words: Wording) -> Iterator[str]:
    """Yield why GPUs are out of the question, then what is cheapest in each currency."""
    yield from _too_large(found, words)
    if all(row.price is None for row in found.rows):
        yield words.say("No price of these GPUs is known.")
    elif not any(row.is_possible for row in found.rows):
        yield words.say("None of these GPUs can do all of the work.")
    for currency in found.currencies:
        yield from _cheapest(found, currency, words)
        yield from _before_and_after(found, currency, words)


def _cheapest(found: Comparison, currency: str, words: Wording) -> Iterator[str]:
    spent = found.spent_micros(currency)
    if found.is_none_cheaper(currency) and spent is not None:
        yield words.say("None is cheaper than what you have: {spent}.", spent=words.amount(spent, currency, 2))
    row = found.cheapest(currency)
    if row is None or row.as_run_micros is None:
        yield from _lack(found, currency, words)
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
    safer = found.cheapest(currency, Market.ON_DEMAND)
    if row.market is Market.SPOT and safer and safer.as_run_micros is not None:
        amount = words.amount(safer.as_run_micros, currency, 2)
        yield words.say("The cheapest that nobody takes away: {gpu}, {amount}.", gpu=safer.on.gpu.name, amount=amount)


def _lack(found: Comparison, currency: str, words: Wording) -> Iterator[str]:
    """Yield why there is no cheapest; that none fits is said already, of all currencies."""
    match found.lack(currency):
        case Lack.PRICE:
            yield words.say("No GPU that fits has a known price in {currency}.", currency=currency)
        case Lack.HOURS:
            yield words.say(
                "How long the work takes is not known of any GPU that fits and has a price in {currency}.",
                currency=currency,
            )
        case Lack.TIME:
            yield words.count(
                "No GPU that fits and has a price in {currency} gets the work done in {period}: it needs more than one "
                "machine.",
                "No GPU that fits and has a price in {currency} gets the work done in {period}: it needs more than "
                "{number} machines.",
                found.workload.machines,
                currency=currency,
                period=words.length(found.workload.period),
            )


def _too_large(found: Comparison, words: Wording) -> Iterator[str]:
    """Yield on which GPUs a model does not fit, or not as it was asked for."""
    gpus: defaultdict[tuple[_Problem, str], list[str]] = defaultdict(list)
    for on in found.gpus:
        models: defaultdict[_Problem, list[str]] = defaultdict(list)
        for part in on.parts:
            models[_problem(part)].append(part.load.model or "")
        for problem, names in models.items():
            gpus[problem, words.listed(dict.fromkeys(names))].append(on.gpu.name)
    for (problem, names_of_models), names_of_gpus in gpus.items():
        yield from _said(problem, {"gpus": words.listed(names_of_gpus), "models": names_of_models}, words)


def _problem(part: Part) -> _Problem:
    if part.verdict is Verdict.TOO_LARGE:
        return _Problem.MODEL if part.fit and part.fit.verdict is Verdict.TOO_LARGE else _Problem.REQUESTS
    return _Problem.CONTEXT if part.verdict is Verdict.SHORTER else _Problem.NONE


def _said(problem: _Problem, names: Mapping[str, str], words: Wording) -> Iterator[str]:
    match problem:
        case _Problem.MODEL:
            yield words.say("{gpus}: too little memory for {models}.", **names)
        case _Problem.REQUESTS:
            yield words.say("{gpus}: too little memory for requests to {models} as long as they were.", **names)
        case _Problem.CONTEXT:
            yield words.say("{gpus}: {models} with less context than asked for.", **names)
        case _Problem.NONE:
            pass


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
