"""Write the daemon's life into the ledger: session, phases, runs, tokens, GPU minutes, decisions, heartbeats."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from costctl.daemon.batch_rows import BatchRows
from costctl.domain.lifecycle import EngineState, Lifecycle
from costctl.domain.sessions import EndReason, Phase
from costctl.ledger.store import Ledger

if TYPE_CHECKING:
    from costctl.daemon.run import EngineRun
    from costctl.daemon.session import Opening
    from costctl.domain.batches import Progress
    from costctl.domain.gpus import GpuReading
    from costctl.domain.policy import Signal, Verdict
    from costctl.domain.stored_answers import Tokens
    from costctl.ledger.writer import LedgerWriter, Verb
    from costctl.ports import Clock

IDLE_GAP_S = 1.0
"""A gap between requests that is shorter than this belongs to the busy stretch around it."""


@dataclass(slots=True)
class _Tokens:
    prompt: int = 0
    generation: int = 0
    requests: int = 0


@dataclass(slots=True)
class _Cached:
    hits: int = 0
    misses: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0


@dataclass(slots=True)
class _GpuMinute:
    name: str
    utilisation: list[int] = field(default_factory=list)
    power: list[int] = field(default_factory=list)
    memory_bytes: int = 0


class Recorder:
    """Turns what happens into the ledger's verbs; nothing here waits for the disk."""

    def __init__(self, *, writer: LedgerWriter, opening: Opening, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._phase = Phase.OFF
        self._live_run: EngineRun | None = None
        self._closed = False
        self._batches = BatchRows(self._write)
        self._begin_session(opening)
        self._idle_at: float | None = None
        self._usage: dict[tuple[datetime, str], _Tokens] = defaultdict(_Tokens)
        self._served: Counter[str] = Counter()
        self._cached: dict[tuple[datetime, str], _Cached] = defaultdict(_Cached)
        self._served_in = self._hour()
        self._hour_ends_at = float("-inf")
        self._minutes: dict[tuple[datetime, int], _GpuMinute] = {}

    def _begin_session(self, opening: Opening) -> None:
        self.opening = opening
        self._session = opening.session_id
        self._timeline = opening.timeline
        self._next_run = opening.next_run
        self._run: int | None = None

    @property
    def phase(self) -> Phase:
        """The phase that is being written."""
        return self._phase

    def now(self) -> datetime:
        """Return this moment on the ledger's timeline."""
        return self._timeline.instant(self._clock.monotonic())

    # --- phases --------------------------------------------------------------------------------------------------

    def lifecycle_changed(self, before: Lifecycle, after: Lifecycle) -> None:
        """Follow the lifecycle with the session's phases (a listener of the supervisor, so on every request's way)."""
        if before.in_flight and after.in_flight and before.state is after.state:
            return
        self._settle_idle()
        phase = phase_of(after)
        if before.state is after.state is EngineState.READY and phase is Phase.IDLE:
            self._idle_at = after.last_work_at  # written once the gap has lasted
            return
        self._idle_at = None
        self._begin(phase, self._clock.monotonic())

    def _begin(self, phase: Phase, at_s: float) -> None:
        run = self._run_in(phase)
        if phase is self._phase:
            return
        self._phase = phase
        if self._closed:
            return  # whoever opens it again begins with the phase of that moment
        at = self._timeline.instant(at_s)
        self._write(partial(Ledger.begin_phase, session_id=self._session, at=at, phase=phase, run=run))

    def _run_in(self, phase: Phase) -> int | None:
        return None if phase is Phase.OFF else self._run

    def _settle_idle(self) -> None:
        if self._idle_at is not None and self._clock.monotonic() - self._idle_at >= IDLE_GAP_S:
            since, self._idle_at = self._idle_at, None
            self._begin(Phase.IDLE, since)

    # --- runs and tokens (the run's book) ------------------------------------------------------------------------

    def run_began(self, run: EngineRun) -> None:
        """Write that the engine is about to be launched, before it is."""
        self._live_run = run
        if self._closed:
            return
        self._run, self._next_run = self._next_run, self._next_run + 1
        command = run.plan.argv if run.plan else ()
        self._write(
            partial(
                Ledger.begin_run,
                session_id=self._session,
                number=self._run,
                engine=run.kind,
                model=run.model,
                command=command,
                at=self.now(),
            )
        )

    def run_ready(self, run: EngineRun, startup: dict[str, float]) -> None:  # noqa: ARG002 - the book's shape
        """Write that the engine is ready, and what its start was spent on."""
        if self._run is not None:
            ready = partial(Ledger.run_ready, session_id=self._session, number=self._run, startup=startup)
            self._write(partial(ready, at=self.now()))

    def run_ended(self, run: EngineRun, outcome: str, detail: str | None) -> None:  # noqa: ARG002 - the book's shape
        """Write how the run ended."""
        self._live_run = None
        if self._run is not None:
            ended = partial(Ledger.end_run, session_id=self._session, number=self._run, outcome=outcome, detail=detail)
            self._write(partial(ended, at=self.now()))
        self._run = None

    def tokens_worked(self, model: str, prompt: int, generation: int) -> None:
        """Add tokens to the present hour."""
        usage = self._usage[(self._hour(), model)]
        usage.prompt += prompt
        usage.generation += generation

    def request_served(self, model: str) -> None:
        """Add a request to the present hour."""
        if self._clock.monotonic() >= self._hour_ends_at:
            self._turn_hour()
        self._served[model] += 1

    def _turn_hour(self) -> None:
        """Add the requests counted so far to their hour; counting itself, on every request's way, is kept cheap."""
        served, self._served = self._served, Counter()
        for model, requests in served.items():
            self._usage[(self._served_in, model)].requests += requests
        self._served_in = self._hour()
        left = self._served_in + timedelta(hours=1) - self.now()
        self._hour_ends_at = self._clock.monotonic() + left.total_seconds()

    def answer_found(self, model: str, tokens: Tokens) -> None:
        """Add an answer from the cache to the present hour."""
        cached = self._cached[(self._hour(), model)]
        cached.hits += 1
        cached.prompt_tokens += tokens.prompt
        cached.generation_tokens += tokens.generation

    def answer_missed(self, model: str) -> None:
        """Add a request that the cache had no answer to."""
        self._cached[(self._hour(), model)].misses += 1

    def _hour(self) -> datetime:
        return self.now().replace(minute=0, second=0, microsecond=0)

    # --- batches -------------------------------------------------------------------------------------------------

    def batch_began(self, number: int, name: str) -> None:
        """Write that work on a batch begins."""
        self._batches.begin(number, name, session_id=self._session, at=self.now())

    def batch_progressed(self, number: int, progress: Progress) -> None:
        """Remember what has been done of a batch, to be written with the next beat."""
        self._batches.progressed(number, progress)

    def batch_ended(self, number: int) -> None:
        """Write that work on a batch has ended."""
        self._batches.end(number, at=self.now())

    # --- GPUs, decisions -----------------------------------------------------------------------------------------

    def gpus_read(self, readings: tuple[GpuReading, ...]) -> None:
        """Take a reading into the present minute."""
        minute = self.now().replace(second=0, microsecond=0)
        for gpu in readings:
            entry = self._minutes.setdefault((minute, gpu.index), _GpuMinute(name=gpu.name))
            entry.memory_bytes = max(entry.memory_bytes, gpu.memory_used_bytes)
            if gpu.utilisation_percent is not None:
                entry.utilisation.append(gpu.utilisation_percent)
            if gpu.power_milliwatts is not None:
                entry.power.append(gpu.power_milliwatts)

    def decided(self, verdict: Verdict, signals: tuple[Signal, ...], *, acted: bool) -> None:
        """Write a decision with every signal it saw."""
        seen = {signal.name: {"active": signal.active, "detail": signal.detail} for signal in signals}
        decision = partial(Ledger.record_decision, session_id=self._session, at=self.now(), signals=seen, acted=acted)
        self._write(partial(decision, verdict=verdict.choice.value, reason=verdict.reason))

    # --- the session ---------------------------------------------------------------------------------------------

    def beat(self) -> None:
        """Write everything gathered since the last beat, then the heartbeat itself."""
        if self._closed:
            return
        self._settle_idle()
        self._flush_usage()
        self._flush_cached()
        self._flush_minutes(before=self.now().replace(second=0, microsecond=0))
        self._batches.beat()
        self._writer.submit(partial(Ledger.heartbeat, session_id=self._session, at=self.now()), key="heartbeat")

    def close_session(self, reason: EndReason) -> None:
        """Write the session's end."""
        self.beat()
        self._flush_minutes(before=self.now() + timedelta(minutes=1))
        self._batches.end_session(self.now())
        self._write(partial(Ledger.close_session, session_id=self._session, at=self.now(), reason=reason))
        self._run, self._closed = None, True

    def suspended(self) -> None:
        """Close the session where the machine was suspended; `go_on` names the next one."""
        live = self._live_run
        if live is not None:
            self.run_ended(live, "suspended", None)
        self.close_session(EndReason.SUSPENDED)
        self._live_run = live

    def go_on(self, opening: Opening) -> None:
        """Write into the session that was opened after the machine was suspended."""
        self._begin_session(opening)
        self._take_up(opening.started_at)

    def reopen_session(self) -> None:
        """Take the session's end back: the instance could not be stopped."""
        at = self.now()
        self._write(partial(Ledger.resume_session, session_id=self._session, at=at, price=None))
        self._take_up(at)

    def _take_up(self, at: datetime) -> None:
        self._closed = False
        if self._live_run is not None:
            self.run_began(self._live_run)
        self._batches.begin_session(self._session, at)
        run = self._run_in(self._phase)
        self._write(partial(Ledger.begin_phase, session_id=self._session, at=at, phase=self._phase, run=run))

    def _flush_usage(self) -> None:
        self._turn_hour()
        usage, self._usage = self._usage, defaultdict(_Tokens)
        for (hour, model), tokens in usage.items():
            self._write(
                partial(
                    Ledger.add_usage,
                    session_id=self._session,
                    hour_at=hour,
                    model=model,
                    requests=tokens.requests,
                    prompt_tokens=tokens.prompt,
                    generation_tokens=tokens.generation,
                )
            )

    def _flush_cached(self) -> None:
        cached, self._cached = self._cached, defaultdict(_Cached)
        for (hour, model), counts in cached.items():
            add = partial(Ledger.add_cached, session_id=self._session, hour_at=hour, model=model)
            self._write(partial(add, **asdict(counts)))

    def _flush_minutes(self, *, before: datetime) -> None:
        for key in [key for key in self._minutes if key[0] < before]:
            entry = self._minutes.pop(key)
            self._write(
                partial(
                    Ledger.add_gpu_minute,
                    session_id=self._session,
                    minute_at=key[0],
                    gpu_index=key[1],
                    gpu=entry.name,
                    utilisation_percent=_mean(entry.utilisation),
                    memory_used_bytes=entry.memory_bytes,
                    power_milliwatts=_mean(entry.power),
                )
            )

    def _write(self, verb: Verb) -> None:
        self._writer.submit(verb)


def phase_of(lifecycle: Lifecycle) -> Phase:
    """Return what a second in this state is."""
    match lifecycle.state:
        case EngineState.STARTING:
            return Phase.STARTING
        case EngineState.READY:
            return Phase.BUSY if lifecycle.in_flight else Phase.IDLE
        case EngineState.STOPPING | EngineState.STUCK:
            return Phase.STOPPING
        case EngineState.OFF | EngineState.FAILED:
            return Phase.OFF


def _mean(values: list[int]) -> int | None:
    return round(sum(values) / len(values)) if values else None
