"""What a workload would cost on other GPUs: does its model fit, how long would it take, at what price.

Only the time at work changes with the GPU; loading, idle tails and all other time are carried over as they were.
Amounts of different currencies are never added or compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.domain.fit import Fit, Verdict, needed_flags
from costctl.domain.money import Price, accrued, to_micro_units
from costctl.domain.offers import Market, Offer
from costctl.domain.speed import Setup, Speed, speed_on
from costctl.domain.workload import WEEK, WEEKS_PER_YEAR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from costctl.domain.baseline import Baseline
    from costctl.domain.best_offers import Shelf, Terms
    from costctl.domain.gpu_models import GpuModel, GpuModels
    from costctl.domain.models import ModelFacts
    from costctl.domain.workload import Load, Measure, Workload

_NOTHING = timedelta(0)
_MILLION = 10**6


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One load on a GPU; fit and facts are None where the model is unknown."""

    load: Load
    model: ModelFacts | None
    fit: Fit | None
    speed: Speed


@dataclass(frozen=True, kw_only=True, slots=True)
class OnGpu:
    """A whole workload on a GPU: its loads one after the other, as each had a machine to itself."""

    gpu: GpuModel
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict | None:
        """How the model fits that fits worst; None if one is unknown and all others fit."""
        verdicts = [part.fit and part.fit.verdict for part in self.parts if part.load.model]
        for verdict in (Verdict.TOO_LARGE, None, Verdict.SHORTER):
            if verdict in verdicts:
                return verdict
        return Verdict.FITS if verdicts else None

    @property
    def weakest(self) -> Speed | None:
        """The speed that rests on least, of the loads that were any work."""
        worked = [part.speed for part in self.parts if part.load.busy != _NOTHING]
        return max(worked, key=lambda speed: speed.ground.weakness, default=None)

    @property
    def flags(self) -> tuple[str, ...]:
        """What vLLM has to be told here."""
        return tuple(dict.fromkeys(flag for part in self.parts for flag in needed_flags(self.gpu, part.fit)))

    @property
    def busy(self) -> timedelta | None:
        """How long it would be at work; None if that is unknown."""
        lengths = [part.speed.busy for part in self.parts]
        return None if None in lengths else sum((length for length in lengths if length), _NOTHING)

    @property
    def as_run(self) -> timedelta | None:
        """How long a machine would be up, as it is used; None if that is unknown."""
        carried_over = sum((part.load.carried_over for part in self.parts), _NOTHING)
        return None if self.busy is None else self.busy + carried_over


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A workload on a GPU in one market; costs are None where price or time is unknown.

    `price` is that of one GPU; of a machine with several, a share of what `offer` says.
    """

    on: OnGpu
    market: Market
    offer: Offer | None
    price: Price | None
    period: timedelta
    tokens: int
    doubts: tuple[str, ...] = ()
    """About the offer, as `offers.Doubts` says them."""

    @property
    def as_run_micros(self) -> int | None:
        """What it costs if the machine is up only as it is used."""
        return None if self.price is None or self.on.as_run is None else accrued(self.price, self.on.as_run)

    @property
    def always_on_micros(self) -> int | None:
        """What it costs if the machine is up for the whole period."""
        return None if self.price is None else accrued(self.price, self.period)

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
        """Whether the work does not get done within the period."""
        return self.on.as_run is not None and self.on.as_run > self.period


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """The baseline and its cost in the period."""

    baseline: Baseline
    row: Row

    @property
    def micros(self) -> int | None:
        """What it costs."""
        return self.row.always_on_micros if self.baseline.is_always_on else self.row.as_run_micros


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
        return tuple(sorted(spent | {row.price.currency for row in self.rows if row.price}))

    def cheapest(self, currency: str) -> Row | None:
        """Return the cheapest row, as run, on which everything fits and gets done (as far as is known)."""
        fitting = [
            (row.as_run_micros, row)
            for row in self.rows
            if row.price
            and row.price.currency == currency
            and row.as_run_micros is not None
            and row.is_possible
            and not row.is_overfull
        ]
        return min(fitting, key=lambda found: found[0], default=(0, None))[1]

    def spent_micros(self, currency: str) -> int | None:
        """Return what was spent, if all of it in this currency; else None: a part compares with nothing."""
        if {part.currency for part in self.workload.spent} != {currency}:
            return None
        return sum(part.micros for part in self.workload.spent)

    def is_none_cheaper(self, currency: str) -> bool:
        """Return whether what there is costs no more than all that was looked at."""
        spent, cheapest = self.spent_micros(currency), self.cheapest(currency)
        return spent is not None and (cheapest is None or spent <= (cheapest.as_run_micros or 0))

    def less_than_baseline(self, row: Row) -> Fraction | None:
        """Return by what share `row`, as run, costs less than the baseline; None in different currencies."""
        if self.held is None or not (row.price and self.held.row.price):
            return None
        if row.price.currency != self.held.row.price.currency:
            return None
        return share_less(row.as_run_micros, self.held.micros)

    def always_on_micros(self, currency: str) -> int | None:
        """Return what the GPUs that were used would have cost always on, if all was spent in this currency."""
        if self.spent_micros(currency) is None:
            return None
        return sum(part.always_on_micros(self.workload.period) for part in self.workload.spent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Knowledge:
    """What a comparison is made from, besides the workload."""

    models: Mapping[str, ModelFacts | None]
    """The facts of each model by the name its loads have."""
    gpus: GpuModels
    shelf: Shelf
    terms: Terms
    measures: Sequence[Measure] = ()


def compare(
    workload: Workload,
    gpus: Iterable[GpuModel],
    *,
    knowledge: Knowledge,
    markets: Sequence[Market] = tuple(Market),
    baseline: Baseline | None = None,
) -> Comparison:
    """Return what `workload` would cost on one of each of `gpus` in `markets`, beside `baseline`.

    Of several markets, those in which a GPU is not offered are left out, if it is in another.
    """
    rows: list[Row] = []
    for gpu in gpus:
        on = _on_gpu(gpu, workload, knowledge)
        found = [_row(on, market, workload, knowledge) for market in markets]
        rows += [row for row in found if row.price] or found[:1]
    held = _held(baseline, workload, knowledge) if baseline else None
    return Comparison(workload=workload, rows=tuple(rows), held=held)


def per_year(micros: int | None, period: timedelta) -> int | None:
    """Return what 52 times a week's amount are; None where the period is no week, and no year follows from it."""
    return None if micros is None or period != WEEK else micros * WEEKS_PER_YEAR


def share_less(micros: int | None, than_micros: int | None) -> Fraction | None:
    """Return by what share one amount is less than another of the same currency; negative if it is more."""
    return None if micros is None or not than_micros else 1 - Fraction(micros, than_micros)


def _on_gpu(gpu: GpuModel, workload: Workload, knowledge: Knowledge) -> OnGpu:
    return OnGpu(gpu=gpu, parts=tuple(_part(load, gpu, knowledge) for load in workload.loads))


def _part(load: Load, gpu: GpuModel, knowledge: Knowledge) -> Part:
    model = knowledge.models.get(load.model) if load.model else None
    own_gpu = knowledge.gpus.by_nvml_name(load.gpu) if load.gpu else None
    return Part(
        load=load,
        model=model,
        fit=Setup(model=model, gpu=gpu, context=load.context).fit if model else None,
        speed=speed_on(load, gpu, model=model, own_gpu=own_gpu, measures=knowledge.measures),
    )


def _row(on: OnGpu, market: Market, workload: Workload, knowledge: Knowledge) -> Row:
    offer = knowledge.shelf.best(on.gpu, market, knowledge.terms)
    return Row(
        on=on,
        market=market,
        offer=offer,
        price=knowledge.shelf.price_of_one_gpu(offer) if offer else None,
        period=workload.period,
        tokens=workload.traffic.tokens,
        doubts=knowledge.shelf.doubts(offer) if offer else (),
    )


def _held(baseline: Baseline, workload: Workload, knowledge: Knowledge) -> Held:
    row = _row(_on_gpu(baseline.gpu, workload, knowledge), baseline.market, workload, knowledge)
    if baseline.price is not None:
        row = replace(row, offer=None, price=baseline.price, doubts=())
    return Held(baseline=baseline, row=row)
