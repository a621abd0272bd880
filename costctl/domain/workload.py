"""What was or will be asked of models, on which GPUs, and for how long machines were up for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from costctl.domain.money import to_micro_units
from costctl.domain.roofline import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from costctl.domain.offers import Market

WEEK = timedelta(weeks=1)
WEEKS_PER_YEAR = 52
_DAYS_PER_WEEK = 7
_NOTHING = timedelta(0)
_MICROSECOND = timedelta(microseconds=1)
_NO_TRAFFIC = Traffic()


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """The work of one model on one kind of GPU, with the time that the machine was up for it.

    Attributes:
        model: as it was named to the engine; None if no engine ran, or it does not matter.
        gpu: its name in the catalog, else the driver's; None if the hours are not those of a certain GPU.
        busy: how long requests were at work; None where that is yet to be estimated from `traffic`.
        other: off, stopping, asleep or unknown.
        context: the engine's `--max-model-len`; None is the model's own.
        last_day: the newest on which it was at work; None if it never was.
        concurrency: how many requests are assumed to be at work at once; None where `busy` tells it.
    """

    model: str | None
    gpu: str | None
    gpu_count: int = 1
    busy: timedelta | None = _NOTHING
    starting: timedelta = _NOTHING
    idle: timedelta = _NOTHING
    other: timedelta = _NOTHING
    traffic: Traffic = _NO_TRAFFIC
    context: int | None = None
    last_day: date | None = None
    concurrency: float | None = None

    @property
    def carried_over(self) -> timedelta:
        """What is the same on every GPU: loading, idle tails, and all that is not work."""
        return self.starting + self.idle + self.other


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What sessions on one kind of GPU cost, in one market and currency."""

    gpu: str | None
    market: Market | None
    currency: str
    micros: int
    length: timedelta
    machines: int = 1
    """So many of them were up at the same time."""

    def always_on_micros(self, period: timedelta) -> int:
        """Return what so many machines would have cost for the whole `period` at the same rate."""
        whole, used = self.machines * period // _MICROSECOND, self.length // _MICROSECOND
        return to_micro_units(Fraction(self.micros * whole, used)) if used else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A usual week that is still to come.

    Attributes:
        model: by name or folder; None if only hours matter.
        context: how many tokens a request may have; None is as many as the model can take.
        hours: how long the machine is up in the week, as it is used; None where it follows from the requests.
        requests_per_day: how many, each with `prompt_tokens` read and `output_tokens` written.
        at_once: how many of them are at work at the same time.
        starts_per_day: how often the machine loads for `start_length`, works, and idles for `idle_window`.
    """

    model: str | None = None
    context: int | None = None
    hours: timedelta | None = None
    requests_per_day: int = 0
    prompt_tokens: int = 512
    output_tokens: int = 256
    at_once: int = 1
    starts_per_day: int = 1
    start_length: timedelta = timedelta(seconds=150)
    """149 s were measured with vLLM 0.21 on an H100 with an empty cache, for Qwen3-1.7B."""
    idle_window: timedelta = timedelta(minutes=30)

    def workload(self) -> Workload:
        """Return the week as a workload."""
        requests = self.requests_per_day * _DAYS_PER_WEEK
        starts = self.starts_per_day * _DAYS_PER_WEEK if self.hours is None else 0
        load = Load(
            model=self.model,
            gpu=None,
            busy=self.hours,
            starting=self.start_length * starts,
            idle=self.idle_window * starts,
            traffic=Traffic(
                requests=requests,
                prompt_tokens=requests * self.prompt_tokens,
                generation_tokens=requests * self.output_tokens,
            ),
            context=self.context,
            concurrency=self.at_once,
        )
        return Workload(period=WEEK, loads=(load,), plan=self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """All loads of a period, and what they cost as they were; nothing was spent yet on a plan."""

    period: timedelta
    loads: tuple[Load, ...]
    spent: tuple[Spent, ...] = ()
    is_partly_unpriced: bool = False
    """Whether there was more to pay than `spent` knows."""
    plan: Plan | None = None
    machines: int = 1
    """So many were up at the same time: as many are compared with, each with one GPU."""

    @property
    def traffic(self) -> Traffic:
        """All that was asked."""
        return sum((load.traffic for load in self.loads), _NO_TRAFFIC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """How long a model on a kind of GPU took for what it was asked.

    `is_benchmark` tells a test that kept `concurrency` requests at work (None: as many as the engine takes) from what
    the ledger saw of real use; `source` says where it is from, and `id` is a benchmark's number in the ledger.
    """

    model: str
    gpu: str
    gpu_count: int = 1
    traffic: Traffic
    busy: timedelta
    measured_at: datetime
    is_benchmark: bool = False
    concurrency: int | None = None
    source: str = ""
    id: int | None = None

    def __post_init__(self) -> None:
        if self.busy <= _NOTHING:
            raise ValueError("a measure took some time")
        if self.measured_at.tzinfo is None:
            raise ValueError("a measure's date needs a time zone")


ENOUGH_TO_MEASURE = timedelta(minutes=10)
"""With less work than this, a single odd request decides."""


def measures_of(loads: Iterable[Load]) -> list[Measure]:
    """Return what `loads` of the ledger, by UTC days, tell of the speed of GPUs, where there was enough work."""
    return [
        Measure(
            model=load.model,
            gpu=load.gpu,
            gpu_count=load.gpu_count,
            traffic=load.traffic,
            busy=load.busy,
            measured_at=datetime.combine(load.last_day, time(), UTC),
            source="ledger",
        )
        for load in loads
        if load.model and load.gpu and load.last_day
        if load.traffic.tokens and load.busy and load.busy >= ENOUGH_TO_MEASURE
    ]
