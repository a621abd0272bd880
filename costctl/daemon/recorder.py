"""Write the daemon's life into the ledger: session, phases, runs, tokens, GPU minutes, decisions, heartbeats."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from costctl.daemon.batch_rows import BatchRows
from costctl.daemon.gathered import Gathered
from costctl.domain.lifecycle import EngineState, Lifecycle
from costctl.domain.sessions import EndReason, Phase
from costctl.ledger.store import Ledger

if TYPE_CHECKING:
    from datetime import datetime

    from costctl.daemon.run import EngineRun
    from costctl.daemon.session import Opening
    from costctl.domain.batches import Outcome, Progress, Wish
    from costctl.domain.gpus import GpuReading
    from costctl.domain.policy import Signal, Verdict
    from costctl.domain.stored_answers import Tokens
    from costctl.ledger.writer import LedgerWriter, Verb
    from costctl.ports import Clock

IDLE_GAP_S = 1.0
"""A gap between requests that is shorter than this belongs to the busy stretch around it."""


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
        self._gathered = Gathered(now=self.now, clock=clock)

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
        self._gathered.tokens_worked(model, prompt, generation)

    def request_served(self, model: str) -> None:
        """Add a request to the present hour."""
        self._gathered.request_served(model)

    def answer_found(self, model: str, tokens: Tokens) -> None:
        """Add an answer from the cache to the present hour."""
        self._gathered.answer_found(model, tokens)

    def answer_missed(self, model: str) -> None:
        """Add a request that the cache had no answer to."""
        self._gathered.answer_missed(model)

    # --- batches -------------------------------------------------------------------------------------------------

    def batch_began(self, number: int, wish: Wish) -> None:
        """Write that work on a batch begins."""
        self._batches.begin(number, wish, session_id=self._session, at=self.now())

    def batch_progressed(self, number: int, progress: Progress) -> None:
        """Remember what has been done of a batch, to be written with the next beat."""
        self._batches.progressed(number, progress)

    def batch_ended(self, number: int, outcome: Outcome) -> None:
        """Write that work on a batch has ended, and how."""
        self._batches.end(number, outcome, at=self.now())

    # --- GPUs, decisions -----------------------------------------------------------------------------------------

    def gpus_read(self, readings: tuple[GpuReading, ...]) -> None:
        """Take a reading into the present minute."""
        self._gathered.gpus_read(readings)

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
        self._flush()
        self._batches.beat()
        self._writer.submit(partial(Ledger.heartbeat, session_id=self._session, at=self.now()), key="heartbeat")

    def close_session(self, reason: EndReason) -> None:
        """Write the session's end."""
        self.beat()
        self._flush(is_last=True)
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

    def _flush(self, *, is_last: bool = False) -> None:
        for verb in self._gathered.flush(self._session, is_last=is_last):
            self._write(verb)

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
