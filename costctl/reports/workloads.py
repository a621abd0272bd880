"""The figures of a period as a workload to compare: what was asked of which model on which GPU, and what it cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from costctl.domain.offers import Market, Offer, Origin
from costctl.domain.roofline import Traffic
from costctl.domain.sessions import Phase
from costctl.domain.workload import Load, Spent, Workload
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from costctl.domain.gpu_models import GpuModels
    from costctl.domain.sessions import Instance
    from costctl.reports.figures import Report, SessionFigure, Slice
    from costctl.reports.served import Served

_OTHER_PHASES = set(Phase) - {Phase.BUSY, Phase.STARTING, Phase.IDLE}


class _Key(NamedTuple):
    """What makes a load of its own."""

    model: str | None
    gpu: str | None
    gpu_count: int
    context: int | None


@dataclass(slots=True)
class _Tally:
    phases: Counter[Phase] = field(default_factory=Counter)  # in microseconds
    traffic: Traffic = field(default_factory=Traffic)
    last_day: date | None = None

    def add(self, piece: Slice) -> None:
        self.phases[piece.phase] += piece.length // timedelta.resolution
        if piece.phase is Phase.BUSY:
            self.last_day = max(self.last_day or piece.day, piece.day)

    def load(self, key: _Key) -> Load:
        return Load(
            model=key.model,
            gpu=key.gpu,
            gpu_count=key.gpu_count,
            context=key.context,
            last_day=self.last_day,
            busy=self._length(Phase.BUSY),
            starting=self._length(Phase.STARTING),
            idle=self._length(Phase.IDLE),
            other=self._length(*_OTHER_PHASES),
            traffic=self.traffic,
        )

    def _length(self, *phases: Phase) -> timedelta:
        return timedelta(microseconds=sum(self.phases[phase] for phase in phases))


def workload_of(report: Report, gpus: GpuModels) -> Workload:
    """Return the work of the period as far as it has gone, with what it cost as it was billed."""
    return Workload(
        period=report.known_until - report.period.started_at,
        loads=tuple(loads_of(report, gpus)),
        spent=tuple(_spent(report, gpus)),
        machines=_most_at_once(report.rows),
        is_partly_unpriced=bool(report.unpriced),
    )


def loads_of(report: Report, gpus: GpuModels) -> Iterator[Load]:
    """Yield the loads; what a machine did without an engine goes to the one that it had up for longest."""
    tallies: defaultdict[_Key, _Tally] = defaultdict(_Tally)
    usual = _usual_engines(report)
    for piece in report.slices:
        engine = piece.engine or usual.get((piece.instance, None))
        tallies[_key(piece.instance, engine, gpus)].add(piece)
    for use in report.usage:
        engine = usual.get((use.instance, use.model)) or usual.get((use.instance, None))
        tallies[_key(use.instance, engine, gpus)].traffic += Traffic(
            requests=use.requests, prompt_tokens=use.prompt_tokens, generation_tokens=use.generation_tokens
        )
    for key, tally in tallies.items():
        yield tally.load(key)


def paid_offers(rows: Iterable[SessionFigure], gpus: GpuModels) -> Iterator[Offer]:
    """Yield the prices that sessions were billed at: what is paid already comes before any price list."""
    for instance, price in dict.fromkeys((row.instance, row.price) for row in rows):
        gpu = _gpu_name(instance, gpus)
        if price is None or gpu is None or instance.gpu_count < 1:
            continue
        try:
            yield Offer(
                gpu=gpu,
                gpu_count=instance.gpu_count,
                market=_market(instance) or Market.ON_DEMAND,
                currency=price.currency,
                micros_per_hour=price.micros_per_hour,
                origin=Origin.OWN,
                provider=instance.provider,
                instance_type=instance.instance_type,
                region=instance.region,
                since=price.dated,
                source="paid",
            )
        except BadValueError:
            continue  # a price that somebody made up: it stays in its session, and says nothing of others


def _usual_engines(report: Report) -> Mapping[tuple[Instance, str | None], Served]:
    """Return what each machine had up for longest, of all (None) and of what was asked by each name."""
    lengths: defaultdict[tuple[Instance, str | None], Counter[Served]] = defaultdict(Counter)
    for piece in report.slices:
        if piece.engine is not None:
            for name in (None, piece.engine.name):
                lengths[piece.instance, name][piece.engine] += piece.length // timedelta.resolution
    return {key: engines.most_common(1)[0][0] for key, engines in lengths.items()}


def _spent(report: Report, gpus: GpuModels) -> Iterator[Spent]:
    alike: defaultdict[tuple[str | None, Market | None, str], list[SessionFigure]] = defaultdict(list)
    for row in report.rows:
        if row.currency is not None:
            alike[_gpu_name(row.instance, gpus), _market(row.instance), row.currency].append(row)
    for (gpu, market, currency), rows in alike.items():
        yield Spent(
            gpu=gpu,
            market=market,
            currency=currency,
            micros=sum(row.cost_micros or 0 for row in rows),
            length=sum((row.length for row in rows), timedelta(0)),
            machines=_most_at_once(rows),
        )


def _most_at_once(rows: Sequence[SessionFigure]) -> int:
    """Return how many machines were up at the same time at most; rented one after the other, they count as one."""
    turns = [(row.started_at, 1) for row in rows] + [(row.ended_at, -1) for row in rows]
    return max(accumulate(turn for _, turn in sorted(turns)), default=0) or 1


def _key(instance: Instance, engine: Served | None, gpus: GpuModels) -> _Key:
    return _Key(
        model=engine.model if engine else None,
        gpu=_gpu_name(instance, gpus),
        gpu_count=max(instance.gpu_count, 1),
        context=engine.context if engine else None,
    )


def _gpu_name(instance: Instance, gpus: GpuModels) -> str | None:
    found = gpus.by_nvml_name(instance.gpu or "")
    return found.name if found else instance.gpu


def _market(instance: Instance) -> Market | None:
    return Market(instance.market) if instance.market in set(Market) else None
