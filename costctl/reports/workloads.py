"""The ledger's work in a period, as a workload to compare: what was asked of which model on which GPU."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from costctl.domain.offers import Market, Offer, Origin
from costctl.domain.roofline import Traffic
from costctl.domain.sessions import Phase
from costctl.domain.workload import Load, Spent, Workload
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from costctl.domain.gpu_models import GpuModels
    from costctl.domain.periods import Period
    from costctl.domain.sessions import Instance, Session
    from costctl.ledger.values import RunFact
    from costctl.reports.tally import Facts

_NOTHING = timedelta(0)
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

    def load(self, key: _Key) -> Load:
        return Load(
            model=key.model,
            gpu=key.gpu,
            gpu_count=key.gpu_count,
            context=key.context,
            busy=self._length(Phase.BUSY),
            starting=self._length(Phase.STARTING),
            idle=self._length(Phase.IDLE),
            other=self._length(*_OTHER_PHASES),
            traffic=self.traffic,
        )

    def _length(self, *phases: Phase) -> timedelta:
        return timedelta(microseconds=sum(self.phases[phase] for phase in phases))


def workload_of(facts: Facts, period: Period, gpus: GpuModels, now: datetime) -> Workload:
    """Return the work of the sessions in `period` until `now`, with what they cost as they are billed."""
    begin, end = period.started_at, min(period.ended_at, now)
    return Workload(
        period=end - begin,
        loads=tuple(loads_of(facts, begin, end, gpus)),
        spent=tuple(_spent(facts.sessions, begin, end, gpus)),
        is_partly_unpriced=any(session.price is None for session in facts.sessions),
    )


def loads_of(facts: Facts, begin: datetime, end: datetime, gpus: GpuModels) -> Iterator[Load]:
    """Yield the loads in [begin, end); what a session did without an engine goes to its first one."""
    tallies: defaultdict[_Key, _Tally] = defaultdict(_Tally)
    first: dict[int, _Key] = {session.id: _key(session, None, gpus) for session in facts.sessions}
    of_run, of_name = _keys(facts, gpus)
    first |= {session_id: key for (session_id, _), key in sorted(of_run.items(), reverse=True)}
    for session in facts.sessions:
        for span in session.spans(begin, end):
            key = of_run.get((session.id, span.run or 0), first[session.id])
            tallies[key].phases[span.phase] += span.length // timedelta.resolution
    for hour in facts.usage:
        if hour.session_id in first and begin <= hour.hour_at < end:
            tallies[of_name.get((hour.session_id, hour.model), first[hour.session_id])].traffic += Traffic(
                requests=hour.requests,
                prompt_tokens=hour.prompt_tokens,
                generation_tokens=hour.generation_tokens,
            )
    for key, tally in tallies.items():
        yield tally.load(key)


def _keys(facts: Facts, gpus: GpuModels) -> tuple[dict[tuple[int, int], _Key], dict[tuple[int, str], _Key]]:
    """Return the load of each engine run, by its session and number, and by its session and the served name."""
    sessions = {session.id: session for session in facts.sessions}
    runs = [(run, _key(sessions[run.session_id], run, gpus)) for run in facts.runs if run.session_id in sessions]
    of_run = {(run.session_id, run.number): key for run, key in runs}
    return of_run, {(run.session_id, run.model): key for run, key in runs}


def paid_offers(sessions: Iterable[Session], gpus: GpuModels) -> Iterator[Offer]:
    """Yield the prices that sessions were billed at: what is paid already comes before any price list."""
    for instance, price in dict.fromkeys((session.instance, session.price) for session in sessions):
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


def _spent(sessions: Iterable[Session], begin: datetime, end: datetime, gpus: GpuModels) -> Iterator[Spent]:
    micros: Counter[tuple[str | None, Market | None, str]] = Counter()
    lengths: defaultdict[tuple[str | None, Market | None, str], timedelta] = defaultdict(timedelta)
    for session in sessions:
        if session.price is None:
            continue
        key = (_gpu_name(session.instance, gpus), _market(session.instance), session.price.currency)
        micros[key] += session.cost(begin, end) or 0
        lengths[key] += sum((span.length for span in session.spans(begin, end)), _NOTHING)
    for (gpu, market, currency), amount in micros.items():
        length = lengths[(gpu, market, currency)]
        yield Spent(gpu=gpu, market=market, currency=currency, micros=amount, length=length)


def _key(session: Session, run: RunFact | None, gpus: GpuModels) -> _Key:
    command = run.command if run else ()
    served = run.model if run else None
    return _Key(
        model=_after(command, "serve") or _after(command, "--model") or served,
        gpu=_gpu_name(session.instance, gpus),
        gpu_count=max(session.instance.gpu_count, 1),
        context=_context(command),
    )


def _gpu_name(instance: Instance, gpus: GpuModels) -> str | None:
    found = gpus.by_nvml_name(instance.gpu or "")
    return found.name if found else instance.gpu


def _market(instance: Instance) -> Market | None:
    return Market(instance.market) if instance.market in set(Market) else None


def _context(command: Sequence[str]) -> int | None:
    """Return the engine's `--max-model-len`; None if it chose by itself (or was told 8k, which vLLM takes too)."""
    text = _after(command, "--max-model-len") or ""
    return int(text) if text.isascii() and text.isdigit() and int(text) else None


def _after(command: Sequence[str], flag: str) -> str | None:
    """Return the word after `flag`, or joined to it by =; None if there is none."""
    for word, following in zip_longest(command, command[1:], fillvalue=""):
        if word == flag and not following.startswith("-"):
            return following or None
        if word.startswith(f"{flag}="):
            return word.partition("=")[2] or None
    return None
