"""How long a load would have kept another GPU busy, and what that statement rests on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from costctl.domain.fit import Fit, fit
from costctl.domain.models import same_model
from costctl.domain.roofline import MOST_CONCURRENT, Roofline

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from costctl.domain.gpu_models import GpuModel
    from costctl.domain.models import ModelFacts
    from costctl.domain.roofline import Traffic
    from costctl.domain.workload import Load, Measure


class Basis(StrEnum):
    """How a time was found, from the firmest to the weakest."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    UNCHANGED = "unchanged"
    """Nothing is known of the difference, so the time stays as it was or as it was given."""


class Ground(Enum):
    """Why a time is what it is."""

    OWN = (Basis.MEASURED, 0)
    LEDGER = (Basis.MEASURED, 1)
    BENCHMARK = (Basis.MEASURED, 2)
    ROOFLINE = (Basis.ESTIMATED, 3)
    GIVEN = (Basis.UNCHANGED, 4)
    NO_TRAFFIC = (Basis.UNCHANGED, 5)
    UNKNOWN_GPU = (Basis.UNCHANGED, 6)
    UNKNOWN_MODEL = (Basis.UNCHANGED, 7)

    def __init__(self, basis: Basis, weakness: int) -> None:
        self.basis = basis
        self.weakness = weakness


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """How long the GPU would be busy; None if that cannot even be guessed."""

    ground: Ground
    busy: timedelta | None
    concurrency: float | None = None
    """How many requests at once that supposes."""
    measure: Measure | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """A model on one or several GPUs of a kind, with requests of up to `context` tokens (the model's own if None)."""

    model: ModelFacts
    gpu: GpuModel
    gpu_count: int = 1
    context: int | None = None

    @property
    def fit(self) -> Fit:
        """How the model fits into one such GPU."""
        return fit(self.model, self.gpu, self.context)

    def most_at_once(self, traffic: Traffic) -> float:
        """Return how many requests like those of `traffic` fit; at least one, or there is no speed at all."""
        return min(max(self.fit.sequences(traffic.mean_length) * self.gpu_count, 1), MOST_CONCURRENT)

    def seconds(self, traffic: Traffic, at_once: float) -> float:
        """Return how long it is busy with `traffic`."""
        return self._roofline.busy_seconds(traffic, at_once)

    def at_once(self, traffic: Traffic, busy: timedelta) -> float:
        """Return how many requests were at work at once, if `traffic` kept it busy for so long."""
        return self._roofline.concurrency_behind(traffic, busy, self.most_at_once(traffic))

    @property
    def _roofline(self) -> Roofline:
        return Roofline(model=self.model, gpu=self.gpu, gpu_count=self.gpu_count)


def speed_on(
    load: Load,
    gpu: GpuModel,
    *,
    model: ModelFacts | None,
    own_gpu: GpuModel | None,
    measures: Iterable[Measure],
) -> Speed:
    """Return how long one `gpu` would be busy with `load`.

    Args:
        load: the work, and where it was done.
        gpu: where else it could be.
        model: the facts of its model, None if they are unknown.
        own_gpu: the facts of the GPU where it was done, None if it is unknown or was none in particular.
        measures: of any model and GPU; those of `load`'s own model on a single `gpu` count.
    """
    if load.busy is not None and load.gpu == gpu.name and load.gpu_count == 1:
        return Speed(ground=Ground.OWN, busy=load.busy)
    if load.busy is not None and load.gpu is None:
        return Speed(ground=Ground.GIVEN, busy=load.busy)
    if not load.traffic.tokens:
        return Speed(ground=Ground.NO_TRAFFIC, busy=load.busy)
    there = Setup(model=model, gpu=gpu, context=load.context) if model else None
    here = None
    if model and own_gpu:
        here = Setup(model=model, gpu=own_gpu, gpu_count=load.gpu_count, context=load.context)
    at_once = here.at_once(load.traffic, load.busy) if here and load.busy else load.concurrency
    measure = _best(load, gpu, measures)
    if measure is not None:
        return _measured(load, measure, there, at_once)
    if there is None:
        return Speed(ground=Ground.UNKNOWN_MODEL, busy=load.busy)
    return _estimated(load, there, here, at_once)


def _best(load: Load, gpu: GpuModel, measures: Iterable[Measure]) -> Measure | None:
    """Return the measure to go by: real use before benchmarks, then the newest, then the longest."""
    fitting = [
        measure
        for measure in measures
        if load.model
        and same_model(measure.model, load.model)
        and (measure.gpu, measure.gpu_count) == (gpu.name, 1)
        and measure.traffic.tokens
    ]
    return max(fitting, key=_rank, default=None)


def _rank(measure: Measure) -> tuple[bool, datetime, timedelta]:
    return not measure.is_benchmark, measure.measured_at, measure.busy


def _measured(load: Load, measure: Measure, there: Setup | None, at_once: float | None) -> Speed:
    """Carry a measure over to the load's tokens.

    What the ledger saw of real use counts as it is. A benchmark keeps a GPU fuller than people do: it tells how far the
    estimate is off there, and the load counts with its own concurrency. The estimate also weighs tokens that are read
    against those that are written; where it cannot be made, all count alike.
    """
    ground = Ground.BENCHMARK if measure.is_benchmark else Ground.LEDGER
    if there is None:
        busy = measure.busy * (load.traffic.tokens / measure.traffic.tokens)
        return Speed(ground=ground, busy=busy, concurrency=measure.concurrency, measure=measure)
    if measure.is_benchmark:
        during = min(measure.concurrency or MOST_CONCURRENT, there.most_at_once(measure.traffic))
        then = min(at_once or during, there.most_at_once(load.traffic))
    else:
        during = then = there.at_once(measure.traffic, measure.busy)
    ratio = there.seconds(load.traffic, then) / there.seconds(measure.traffic, during)
    return Speed(ground=ground, busy=measure.busy * ratio, concurrency=then, measure=measure)


def _estimated(load: Load, there: Setup, here: Setup | None, at_once: float | None) -> Speed:
    if at_once is None:
        return Speed(ground=Ground.UNKNOWN_GPU, busy=load.busy)
    then = min(at_once, there.most_at_once(load.traffic))
    seconds = there.seconds(load.traffic, then)
    if load.busy is None:
        return Speed(ground=Ground.ROOFLINE, busy=timedelta(seconds=seconds), concurrency=then)
    if here is None:
        return Speed(ground=Ground.UNKNOWN_GPU, busy=load.busy)
    busy = load.busy * (seconds / here.seconds(load.traffic, at_once))
    return Speed(ground=Ground.ROOFLINE, busy=busy, concurrency=then)
