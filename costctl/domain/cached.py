"""What the cache of answers saved in a period.

Saved tokens are those that the engine would have worked on for the answers that the cache gave. At the period's own
tokens per busy second that is GPU time, and at the mean price of the model's time it is money.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from costctl.domain.instants import length_of
from costctl.domain.money import to_micro_units

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheUse:
    """What the cache answered instead of a model, beside what the model itself did in the period."""

    model: str
    hits: int
    misses: int
    prompt_tokens: int
    generation_tokens: int
    worked_tokens: int
    """Of the model, in its busy time; prompt and generated together."""
    busy: timedelta
    billed: timedelta
    currency: str | None
    """None if the price is unknown."""
    cost_micros: int
    """Of the billed time."""

    def __post_init__(self) -> None:
        if min(self.hits, self.misses, self.prompt_tokens, self.generation_tokens, self.worked_tokens) < 0:
            raise ValueError("requests and tokens are counted from zero")

    @property
    def saved_tokens(self) -> int:
        """What the engine did not have to work on."""
        return self.prompt_tokens + self.generation_tokens

    @property
    def hit_rate(self) -> Fraction | None:
        """Which part of the requests that could be cached was answered from the cache; None if there were none."""
        asked = self.hits + self.misses
        return Fraction(self.hits, asked) if asked else None

    @property
    def saved_time(self) -> timedelta | None:
        """Which busy time was saved; None if it is not known how fast the model is."""
        if not self.worked_tokens:
            return None
        return length_of(round(Fraction(self.saved_tokens * (self.busy // _MICROSECOND), self.worked_tokens)))

    @property
    def saved_micros(self) -> int | None:
        """What that time would have cost; None without a price."""
        time = self.saved_time
        if time is None or self.currency is None or not self.billed:
            return None
        return to_micro_units(Fraction(self.cost_micros * (time // _MICROSECOND), self.billed // _MICROSECOND))
