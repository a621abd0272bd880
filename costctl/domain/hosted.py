"""What a period's tokens would have cost at hosted APIs, and how busy the GPU must be to be cheaper.

Both sides are taken as they were in the period: its mix of prompt and generated tokens, and its tokens per busy second.
With the utilisation u (busy over billed time), a GPU that cost G where hosted tokens had cost H breaks even at
u x G / H: tokens grow with the busy time, the GPU's cost does not. Above one there is no such utilisation.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from costctl.domain.model_names import ModelName, read_model_name
from costctl.domain.money import MICRO, to_micro_units
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import date

    # From micro-units of one currency to those of another; None without a rate.
    Convert = Callable[[int, str, str], int | None]

OFFERS_SHOWN = 3
CURRENCY = "USD"
"""Of all hosted prices."""
_MICROSECOND = timedelta(microseconds=1)
_NOTHING = timedelta(0)
_FARTHEST_SIZE = Fraction(3, 2)  # 7 and 8 billion are alike, 8 and 14 are not


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedPrice:
    """What a provider asks for a million tokens, in micro-dollars; `dated` is since when, None if that is unknown."""

    model: str
    provider: str
    input_micros: int
    output_micros: int
    source: str
    dated: date | None = None

    def __post_init__(self) -> None:
        if self.input_micros <= 0 or self.output_micros <= 0:
            raise BadValueError(f"{self.provider} has no price of {self.model}: tokens cost more than nothing")

    def cost(self, prompt_tokens: int, generated_tokens: int) -> int:
        """Return the micro-dollars that these tokens cost, rounded once."""
        exact = prompt_tokens * self.input_micros + generated_tokens * self.output_micros
        return to_micro_units(Fraction(exact, MICRO))


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelUse:
    """What a model did in a period, and what the GPUs' billed time for it cost, idle and starting included."""

    model: str
    prompt_tokens: int
    generated_tokens: int
    cost_micros: int
    currency: str
    billed: timedelta
    busy: timedelta

    def __post_init__(self) -> None:
        if min(self.prompt_tokens, self.generated_tokens, self.cost_micros) < 0:
            raise ValueError("tokens and costs are counted from zero")
        if not _NOTHING <= self.busy <= self.billed:
            raise ValueError("busy time is part of the billed time")

    @property
    def utilisation(self) -> Fraction | None:
        """Which part of the billed time was busy; None if nothing was billed."""
        return Fraction(self.busy // _MICROSECOND, self.billed // _MICROSECOND) if self.billed else None

    @property
    def tokens_per_busy_second(self) -> Fraction | None:
        """The throughput in the period, prompt and generated tokens together; None if it was never busy."""
        tokens = self.prompt_tokens + self.generated_tokens
        return Fraction(tokens * MICRO, self.busy // _MICROSECOND) if self.busy else None


@dataclass(frozen=True, kw_only=True, slots=True)
class HostedCost:
    """A period's tokens at one hosted price, beside the GPU."""

    price: HostedPrice
    dollar_micros: int
    converted_micros: int | None
    """In the GPU's currency; None without a rate."""
    saved_micros: int | None
    """What the GPU saved in its currency; negative where it cost more."""
    break_even: Fraction | None
    """The utilisation at which both cost the same; None if it cannot be said."""

    @property
    def is_never(self) -> bool:
        """Whether the GPU costs more even if it is always busy, at this throughput."""
        return self.break_even is not None and self.break_even > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BreakEven:
    """A model's use beside the cheapest hosted offers, at most one per provider; none if nothing is comparable."""

    use: ModelUse
    offers: tuple[HostedCost, ...]
    is_stand_in: bool
    """Whether the offers are of other models of similar size, because nobody hosts this one."""


@dataclass(frozen=True)
class HostedPrices:
    """All hosted prices that are known."""

    prices: tuple[HostedPrice, ...]

    def of_model(self, name: str) -> tuple[HostedPrice, ...]:
        """Return the prices of the very model that is called `name`."""
        return tuple(self._by_name.get(read_model_name(name), ()))

    def of_similar_size(self, name: str) -> tuple[HostedPrice, ...]:
        """Return the prices of general models of the size that is nearest to `name`'s, if any is near."""
        size = read_model_name(name).billions
        if size is None:
            return ()
        ratios = {known: max(size / other, other / size) for known, other in self._plain_sizes.items()}
        nearest = min([*ratios.values(), _FARTHEST_SIZE])
        return tuple(price for known, ratio in ratios.items() if ratio == nearest for price in self._by_name[known])

    @cached_property
    def _plain_sizes(self) -> Mapping[ModelName, Fraction]:
        return {name: size for name in self._by_name if name.is_plain and (size := name.billions)}

    @cached_property
    def _by_name(self) -> Mapping[ModelName, list[HostedPrice]]:
        prices = defaultdict(list)
        for price in self.prices:
            prices[read_model_name(price.model)].append(price)
        prices.pop(ModelName(()), None)  # names that say nothing are not names of the same model
        return dict(prices)


def break_even(use: ModelUse, prices: HostedPrices, convert: Convert, *, most: int = OFFERS_SHOWN) -> BreakEven:
    """Return `use` beside the cheapest hosted offers for it: of the model itself, else of one of similar size.

    Args:
        use: what was served, at which cost.
        prices: what is known of hosted prices.
        convert: the rates; where it has none, the money and the break-even of the GPU are not compared.
        most: how many offers to name.
    """
    same = prices.of_model(use.model)
    # What generates nothing is an embedding model or the like: no chat model stands in for it.
    found = same or (prices.of_similar_size(use.model) if use.generated_tokens else ())
    costs = sorted((_beside(use, price, convert) for price in _best_of_each_provider(found, use)), key=_dearness)
    return BreakEven(use=use, offers=tuple(costs[:most]), is_stand_in=bool(costs) and not same)


def _beside(use: ModelUse, price: HostedPrice, convert: Convert) -> HostedCost:
    dollars = price.cost(use.prompt_tokens, use.generated_tokens)
    converted = dollars if use.currency == CURRENCY else convert(dollars, CURRENCY, use.currency)
    return HostedCost(
        price=price,
        dollar_micros=dollars,
        converted_micros=converted,
        saved_micros=None if converted is None else converted - use.cost_micros,
        break_even=use.utilisation * Fraction(use.cost_micros, converted) if use.utilisation and converted else None,
    )


def _best_of_each_provider(prices: Iterable[HostedPrice], use: ModelUse) -> list[HostedPrice]:
    """Return of each provider one price: a dated one before others, then the cheapest for these tokens."""
    by_provider = defaultdict(list)
    for price in prices:
        by_provider[price.provider.casefold()].append(price)

    def rank(price: HostedPrice) -> tuple[bool, int]:
        return price.dated is None, price.cost(use.prompt_tokens, use.generated_tokens)

    return [min(offered, key=rank) for offered in by_provider.values()]


def _dearness(cost: HostedCost) -> tuple[int, str]:
    return cost.dollar_micros, cost.price.provider
