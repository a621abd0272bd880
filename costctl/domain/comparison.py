"""What a workload would cost on other GPUs: does its model fit, how long would it take, at what price.

Only the time at work changes with the GPU; loading, idle tails and all other time are carried over as they were.
Amounts of different currencies are never added or compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.domain.fit import Verdict
from costctl.domain.money import accrued, to_micro_units
from costctl.domain.workload import WEEK, WEEKS_PER_YEAR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from costctl.domain.baseline import Baseline
    from costctl.domain.money import Price
    from costctl.domain.offers import Market, Offer
    from costctl.domain.on_gpu import OnGpu
    from costctl.domain.workload import Workload

_MILLION = 10**6


class Lack(StrEnum):
    """Why nothing can be recommended, in the order in which it is looked at."""

    FIT = "none fits"
    PRICE = "none of known price"
    HOURS = "hours unknown"
    TIME = "not done in the period"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A workload on a GPU in one market; costs are None where price or time is unknown.

    `price` is that of one GPU, in the currency to compare in where there is a rate to it; of a machine with several, a
    share of what `offer` says.
    """

    on: OnGpu
    market: Market
    offer: Offer | None
    price: Price | None
    period: timedelta
    tokens: int
    machines: int = 1
    doubts: tuple[str, ...] = ()
    """About the offer, as `offers.Doubts` says them."""

    @property
    def currency(self) -> str | None:
        """What it is paid in; None without a price."""
        return self.price.currency if self.price else None

    @property
    def as_run_micros(self) -> int | None:
        """What it costs if the machine is up only as it is used."""
        return None if self.price is None or self.on.as_run is None else accrued(self.price, self.on.as_run)

    @property
    def always_on_micros(self) -> int | None:
        """What it costs if as many machines as are at work at the same time are up for the whole period."""
        return None if self.price is None else accrued(self.price, self.period * self.machines)

    @property
    def less_than_always_on(self) -> Fraction | None:
        """By what share it costs less as run; None where the work cannot be done on these machines in the period."""
        if not self.is_possible or self.is_overfull:
            return None
        return share_less(self.as_run_micros, self.always_on_micros)

    @property
    def micros_per_million_tokens(self) -> int | None:
        """What a million tokens cost as run, with loading and idleness included."""
        if self.as_run_micros is None or not self.tokens:
            return None
        return to_micro_units(Fraction(self.as_run_micros * _MILLION, self.tokens))

    @property
    def is_possible(self) -> bool:
        """Whether the work can be done on this GPU at all, as far as is known."""
        return self.on.verdict is not Verdict.TOO_LARGE

    @property
    def is_overfull(self) -> bool:
        """Whether the work is more than the machines get done within the period."""
        return self.on.as_run is not None and self.on.as_run > self.period * self.machines

    @property
    def converted_from(self) -> str | None:
        """The currency in which it is offered, if that is another."""
        return self.offer.currency if self.offer and self.offer.currency != self.currency else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """The baseline and its cost in the period."""

    baseline: Baseline
    row: Row

    @property
    def micros(self) -> int | None:
        """What it costs."""
        return self.row.always_on_micros if self.baseline.is_always_on else self.row.as_run_micros

    @property
    def converted_from(self) -> str | None:
        """The currency in which it is offered, or its price was given, if that is another."""
        given = self.baseline.price
        if given is None:
            return self.row.converted_from
        return given.currency if given.currency != self.row.currency else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A workload on several GPUs."""

    workload: Workload
    rows: tuple[Row, ...]
    held: Held | None = None

    @property
    def gpus(self) -> tuple[OnGpu, ...]:
        """The GPUs, each once."""
        return tuple({row.on.gpu.name: row.on for row in self.rows}.values())

    @property
    def currencies(self) -> tuple[str, ...]:
        """All that occur, in which each is compared for itself."""
        spent = {part.currency for part in self.workload.spent}
        return tuple(sorted(spent | {row.currency for row in self.rows if row.currency}))

    @property
    def converted_from(self) -> tuple[str, ...]:
        """The currency of each price that was converted."""
        found = [row.converted_from for row in self.rows] + [self.held.converted_from if self.held else None]
        return tuple(currency for currency in found if currency)

    def cheapest(self, currency: str, market: Market | None = None) -> Row | None:
        """Return the cheapest row (in `market`), as run, where all fits and gets done, as far as is known."""
        able = [row for row in self._able(currency)[0] if market in {None, row.market}]
        return min(able, key=lambda row: row.as_run_micros or 0, default=None)

    def lack(self, currency: str) -> Lack | None:
        """Return why there is no cheapest row in `currency`; None if there is one."""
        return self._able(currency)[1]

    def spent_micros(self, currency: str) -> int | None:
        """Return what was spent, if all of it is known and in this currency; a part compares with nothing."""
        if self.workload.is_partly_unpriced or {part.currency for part in self.workload.spent} != {currency}:
            return None
        return sum(part.micros for part in self.workload.spent)

    def is_none_cheaper(self, currency: str) -> bool:
        """Return whether what there is costs no more than all that was looked at."""
        spent, cheapest = self.spent_micros(currency), self.cheapest(currency)
        return spent is not None and (cheapest is None or spent <= (cheapest.as_run_micros or 0))

    def less_than_baseline(self, row: Row) -> Fraction | None:
        """Return by what share `row`, as run, costs less than the baseline; None in different currencies."""
        if self.held is None or row.currency is None or row.currency != self.held.row.currency:
            return None
        return share_less(row.as_run_micros, self.held.micros)

    def _able(self, currency: str) -> tuple[Sequence[Row], Lack | None]:
        """Return the rows that can do the work at a cost in `currency`, as far as is known, or why there are none."""
        conditions: tuple[tuple[Lack, Callable[[Row], bool]], ...] = (
            (Lack.FIT, lambda row: row.is_possible),
            (Lack.PRICE, lambda row: row.currency == currency),
            (Lack.HOURS, lambda row: row.as_run_micros is not None),
            (Lack.TIME, lambda row: not row.is_overfull),
        )
        rows: Sequence[Row] = self.rows
        for lack, holds in conditions:
            rows = [row for row in rows if holds(row)]
            if not rows:
                return rows, lack
        return rows, None

    def always_on_micros(self, currency: str) -> int | None:
        """Return what the GPUs that were used would have cost always on, if all was spent in this currency."""
        if self.spent_micros(currency) is None:
            return None
        return sum(part.always_on_micros(self.workload.period) for part in self.workload.spent)


def per_year(micros: int | None, period: timedelta) -> int | None:
    """Return what 52 times a week's amount are; None where the period is no week, and no year follows from it."""
    return None if micros is None or period != WEEK else micros * WEEKS_PER_YEAR


def share_less(micros: int | None, than_micros: int | None) -> Fraction | None:
    """Return by what share one amount is less than another of the same currency; negative if it is more."""
    return None if micros is None or not than_micros else 1 - Fraction(micros, than_micros)
