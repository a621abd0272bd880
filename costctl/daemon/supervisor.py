"""The supervisor: the single writer of the engine's lifecycle, of admission and of the in-flight count.

Everything runs on the daemon's event loop. Every change goes through `_step`, which is synchronous: it takes the pure
next state, then carries the effects out, so a read and the change that depends on it can never be torn apart. Others
may read `lifecycle` to display it; whoever wants it changed calls a method here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from costctl.daemon.run import EngineRun
from costctl.domain import lifecycle as life
from costctl.domain.durations import format_duration
from costctl.domain.lifecycle import Effect, EngineState, Lifecycle
from costctl.domain.policy import IdlePolicy, Signal, Verdict, judge, observe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costctl.domain.engines import LaunchPlan
    from costctl.domain.policy import Evidence
    from costctl.ports import Clock

logger = logging.getLogger(__name__)

RunFactory = Callable[[Callable[[life.Event], None]], EngineRun]
Listener = Callable[[Lifecycle, Lifecycle], None]
_SETTLED = (EngineState.OFF, EngineState.READY, EngineState.FAILED, EngineState.STUCK)


@dataclass(eq=False, slots=True)
class Refusal(Exception):  # noqa: N818 - an answer to a request, not a fault
    """A request is turned away: why, in words and as a code, and when to come again."""

    # Not frozen: whoever passes an exception on, as contextlib does, sets its traceback.

    code: str
    message: str
    retry_after_s: float | None = None


@dataclass(eq=False, slots=True)
class _Waiter:
    """A request that waits; `admitted` is remembered here since a cancelled future can be told nothing any more."""

    future: asyncio.Future[None]
    admitted: bool = False


class Supervisor:
    """Owns the lifecycle; see the module."""

    def __init__(self, *, clock: Clock, new_run: RunFactory, policy: IdlePolicy, most_waiting: int) -> None:
        self._clock = clock
        self._new_run = new_run
        self._policy = policy
        self._born_at = clock.monotonic()
        self._state = Lifecycle(
            state=EngineState.OFF, since=self._born_at, last_work_at=self._born_at, most_waiting=most_waiting
        )
        self._signals: tuple[Signal, ...] = ()
        self._waiters: set[_Waiter] = set()
        self._listeners: list[Listener] = []
        self._run_task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.run: EngineRun | None = None
        self.last_run: EngineRun | None = None

    # --- for display ---------------------------------------------------------------------------------------------

    @property
    def lifecycle(self) -> Lifecycle:
        """The state as it is now, to look at."""
        return self._state

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The signals as they were last read."""
        return self._signals

    def listen(self, listener: Listener) -> None:
        """Call `listener` with the old and the new state after every change."""
        self._listeners.append(listener)

    # --- the front door ------------------------------------------------------------------------------------------

    async def enter(self) -> LaunchPlan:
        """Admit a request, after a wait for the engine if need be, and return where the engine is.

        Whoever entered must `leave`. A caller that is cancelled has not entered.

        Raises:
            Refusal: the request is turned away.
        """
        effects = self._step(life.RequestCame())
        if Effect.REFUSE in effects:
            raise self._refusal()
        if Effect.HOLD in effects:
            await self._wait()
        assert self.run is not None  # noqa: S101 - READY means that there is one
        assert self.run.plan is not None  # noqa: S101
        return self.run.plan

    def leave(self, *, answered: bool = False) -> None:
        """Count a request that entered as ended: its last byte is out, or its client is gone.

        `answered` says that the engine did what was asked, which proves that it is sound.
        """
        self._step(life.RequestEnded(answered))

    async def _wait(self) -> None:
        waiter = _Waiter(asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.discard(waiter)
                self._step(life.WaiterLeft())
            elif waiter.admitted:
                self.leave()  # admitted in the same breath in which its client left
            raise

    # --- orders --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the engine although no request asks for it."""
        self._step(life.StartWanted())

    def stop(self, reason: str, *, closing: bool = False) -> None:
        """Stop the engine; with `closing`, refuse all requests from now on."""
        self._step(life.StopWanted(reason, closing))

    def reopen(self) -> None:
        """Take requests again after a stop with `closing` that came to nothing."""
        self._step(life.CloseCancelled())

    def consider(self, evidence: Iterable[Evidence], *, at_once: bool = False) -> Verdict:
        """Take in what the signals showed and return the idle policy's verdict, as of this very moment.

        With `at_once` as if the idle window were over: what works now is still no idleness.
        """
        at = self._clock.monotonic()
        self._signals = observe(self._signals, evidence, at)
        return self._judge(at, replace(self._policy, window_s=0.0) if at_once else None)

    def verdict(self) -> Verdict:
        """Return the idle policy's verdict on what is known now."""
        return self._judge(self._clock.monotonic())

    def _judge(self, at: float, policy: IdlePolicy | None = None) -> Verdict:
        return judge(self._state, self._signals, policy or self._policy, since=self._born_at, at=at)

    async def settled(self) -> EngineState:
        """Wait until the engine neither starts nor stops, and return its state."""
        while self._state.state not in _SETTLED:
            self._changed.clear()
            await self._changed.wait()
        return self._state.state

    async def abandon(self) -> None:
        """Kill the engine without more ado: the daemon is ending in a hurry."""
        self.stop("the daemon ends in a hurry", closing=True)
        if self.run is not None:
            self.run.kill()
        if self._run_task is not None:
            await asyncio.wait({self._run_task}, timeout=10)

    # --- the single writer ---------------------------------------------------------------------------------------

    def _step(self, event: life.Event) -> life.Effects:
        before = self._state
        self._state, effects = life.step(before, event, self._clock.monotonic())
        for effect in effects:
            self._carry_out(effect)
        for listener in self._listeners:
            listener(before, self._state)
        if self._state.state is not before.state:
            self._changed.set()
        return effects

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Effect.LAUNCH:
                self._launch()
            case Effect.END_ENGINE:
                assert self.run is not None  # noqa: S101 - it is ended only while there is one
                self.run.end(drained=self._state.in_flight == 0)
            case Effect.DRAINED:
                if self.run is not None:
                    self.run.end(drained=True)
            case Effect.ADMIT_WAITING:
                self._release(None)
            case Effect.REFUSE_WAITING:
                self._release(self._refusal())
            case Effect.ADMIT | Effect.HOLD | Effect.REFUSE:
                pass  # `enter` answers its own request

    def _launch(self) -> None:
        run = self._new_run(self._step_from_run)
        self.run = self.last_run = run
        run.begin()
        self._run_task = asyncio.create_task(run.live(), name="engine run")
        self._run_task.add_done_callback(self._life_ended)

    def _life_ended(self, task: asyncio.Task[None]) -> None:
        """Raise the alarm if a fault of ours broke a run off: nobody knows then what is left of the engine."""
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            logger.error("engine: the end of its run could not be followed", exc_info=fault)
            self._step(life.EngineRemains(f"a fault in costctl, {fault!r}: look for the engine's processes"))

    def _step_from_run(self, event: life.Event) -> None:
        if isinstance(event, life.EngineGone):
            self.run = None
        self._step(event)

    def _release(self, refusal: Refusal | None) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            waiter.admitted = refusal is None
            if waiter.future.done():
                continue
            if refusal is None:
                waiter.future.set_result(None)
            else:
                waiter.future.set_exception(replace(refusal))

    def _refusal(self) -> Refusal:
        now, at = self._state, self._clock.monotonic()
        if now.closing:
            return Refusal("shutting_down", "costctl is shutting down and takes no more requests")
        if now.state is EngineState.STUCK:
            return Refusal("engine_stuck", f"the last engine would not end: {now.reason}")
        if now.waiting >= now.most_waiting:
            again = self.run.remaining_s() if self.run else None
            return Refusal("queue_full", f"{now.waiting} requests already wait for the engine", again or 1.0)
        again = max(1.0, now.retry_at - at)
        words = f"the engine is not available: {now.reason} (it may start again in {format_duration(again)})"
        return Refusal("engine_failed", words, again)
