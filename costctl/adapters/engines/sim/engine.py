"""The engine behind the HTTP server: who runs, who waits, how fast tokens come, and how it all is cut short."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.adapters.engines.sim.core_process import CoreGoneError
from costctl.adapters.engines.sim.failures import Kind
from costctl.adapters.engines.sim.last_words import ENGINE_DIED
from costctl.adapters.engines.sim.load import GpuLoad
from costctl.adapters.engines.sim.metrics import Counters, Gauges
from costctl.adapters.engines.sim.sleeping import SleepMode
from costctl.adapters.engines.sim.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from typing import Any

    from costctl.adapters.engines.sim.core_process import CoreProcess
    from costctl.adapters.engines.sim.settings import Settings

UNARY_TICK_S = 0.05
"""A request that is not streamed wakes only this often."""
KV_TOKENS_PER_REQUEST, KV_TOKENS = 512, 1_000_000
SHUT_DOWN = "cannot schedule new futures after shutdown"
PUT_TO_SLEEP = "The request was aborted: the engine goes to sleep."


class InterruptedRequestError(ApiError):
    """The engine, not the client, cut a request short."""

    def __init__(self, message: str) -> None:
        super().__init__(500, "InternalServerError", message)


@dataclass(eq=False, kw_only=True, slots=True)
class Run:
    """One inference request."""

    task: asyncio.Task[Any]
    number: int
    arrived_at: float
    interruption: str | None = None


class Engine:
    """Admission, pacing and death; all in one event loop, so without locks."""

    def __init__(self, settings: Settings, core: CoreProcess) -> None:
        self.settings = settings
        self.counters = Counters(created_at=time.time())
        self.sleep_mode = SleepMode(settings, core)
        self.dead = False
        self.draining = False
        self.aborted = 0
        self._core = core
        self._load = GpuLoad(core)
        self._runs: set[Run] = set()
        self._arrivals = 0
        self._admitted = 0
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._no_runs, self._none_admitted = asyncio.Event(), asyncio.Event()
        self._no_runs.set()
        self._none_admitted.set()

    @property
    def unfinished(self) -> int:
        """Requests that have not been answered, those included that wait for the engine to wake."""
        return len(self._runs)

    def gauges(self) -> Gauges:
        """Return what goes up and down; a request that waits for the engine to wake shows nowhere, as in vLLM."""
        running = self._load.users
        return Gauges(
            running=running,
            waiting=self._admitted - running,
            kv_cache_usage=min(1.0, running * KV_TOKENS_PER_REQUEST / KV_TOKENS),
            sleep_state=self.sleep_mode.state,
        )

    @asynccontextmanager
    async def request(self) -> AsyncIterator[Run]:
        """Admit one inference request: wait while asleep, then for a free slot.

        Raises:
            InterruptedRequestError: the engine is dead or shutting down, or became so.
        """
        self._refuse()
        with self._known() as run:
            try:
                await self.sleep_mode.admit()
                with self._counted_as_admitted():
                    async with self._slots:
                        with self._load.used():
                            yield run
            except asyncio.CancelledError:
                if run.interruption is None:
                    self.aborted += 1
                    raise
                run.task.uncancel()
                raise InterruptedRequestError(run.interruption) from None
            except ConnectionError:
                self.aborted += 1
                raise

    async def generate(self, run: Run, prompt: int, length: int, emit: Callable[[int], Awaitable[None]] | None) -> None:
        """Let `length` tokens pass at the engine's speed; call `emit` with the number of each if it is given."""
        await self._prefill(run, prompt)
        breaks_at = self._breaking_point(run, length, streamed=emit is not None)
        at_once = 1 if emit else self._tokens_a_tick(length)
        began = time.monotonic()
        done = 0
        while done < length:
            step = min(at_once, length - done)
            done += step
            self.counters.generation_tokens += step
            if emit:
                await emit(done - 1)
            if breaks_at is not None and done >= breaks_at:
                await self._break(run)
            await self._pace(began, done)

    def finish(self, reason: str) -> None:
        """Count a request that was answered."""
        self.counters.finished[reason] += 1

    async def drained(self, within_seconds: float) -> None:
        """Return when no request is left, or at the end of the time."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._no_runs.wait()
        except TimeoutError:
            return

    def interrupt_all(self, message: str) -> None:
        """Cut every request short."""
        for run in self._runs:
            if run.interruption is None:
                run.interruption = message
                run.task.cancel()

    def die(self) -> None:
        """Answer nothing any more: the engine core is dead."""
        self.dead = True
        self.interrupt_all(ENGINE_DIED)

    async def sleep(self, level: int, mode: str) -> None:
        """Go to sleep. `mode` says what becomes of running requests: abort, wait (for them) or keep (frozen).

        Raises:
            InterruptedRequestError: the engine is dead or shutting down.
        """
        self._refuse()
        self.sleep_mode.close()
        if mode == "abort":
            self.interrupt_all(PUT_TO_SLEEP)
        if mode != "keep":
            await self._none_admitted.wait()
        try:
            await self.sleep_mode.fall_asleep(level)
        except CoreGoneError:
            raise InterruptedRequestError(ENGINE_DIED) from None

    async def wake(self, tags: frozenset[str]) -> bool:
        """Wake these parts; return whether the engine is now fully awake.

        Raises:
            InterruptedRequestError: the engine is dead.
        """
        try:
            return await self.sleep_mode.wake(tags)
        except CoreGoneError:
            raise InterruptedRequestError(ENGINE_DIED) from None

    def _refuse(self) -> None:
        if Kind.ERROR_500 in self.settings.failures:
            raise InterruptedRequestError("Internal server error")
        if self.dead:
            raise InterruptedRequestError(ENGINE_DIED)
        if self.draining:
            raise InterruptedRequestError(SHUT_DOWN)

    @contextmanager
    def _known(self) -> Iterator[Run]:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an inference request runs in a task")
        self._arrivals += 1
        run = Run(task=task, number=self._arrivals, arrived_at=time.monotonic())
        self._runs.add(run)
        self._no_runs.clear()
        try:
            yield run
        finally:
            self._runs.discard(run)
            if not self._runs:
                self._no_runs.set()

    @contextmanager
    def _counted_as_admitted(self) -> Iterator[None]:
        self._admitted += 1
        self._none_admitted.clear()
        try:
            yield
        finally:
            self._admitted -= 1
            if not self._admitted:
                self._none_admitted.set()

    async def _prefill(self, run: Run, prompt: int) -> None:
        if Kind.ZOMBIE in self.settings.failures:
            await _for_ever()
        await asyncio.sleep(self.settings.first_token_seconds)
        self.counters.prompt_tokens += prompt
        self.counters.note_first_token(time.monotonic() - run.arrived_at)

    def _tokens_a_tick(self, length: int) -> int:
        rate = self.settings.tokens_per_second
        return max(1, round(rate * UNARY_TICK_S)) if rate else max(1, length)

    async def _pace(self, began: float, done: int) -> None:
        """Wait until `done` tokens are due."""
        rate = self.settings.tokens_per_second
        # Absolute times: a late token does not delay the next. Without a rate every chunk still gets a turn of the
        # event loop, and so a write of its own.
        await asyncio.sleep(max(0.0, began + done / rate - time.monotonic()) if rate else 0)
        await self.sleep_mode.stay_awake()

    def _breaking_point(self, run: Run, length: int, *, streamed: bool) -> int | None:
        failures = self.settings.failures
        if failures.number(Kind.CRASH_AFTER) == run.number:
            return (length + 1) // 2
        return failures.number(Kind.KILL_STREAM) if streamed else None

    async def _break(self, run: Run) -> None:
        await asyncio.sleep(0)  # the chunks so far leave the process
        if self.settings.failures.number(Kind.CRASH_AFTER) == run.number:
            self._core.kill()
            await _for_ever()
        os._exit(1)


async def _for_ever() -> None:
    await asyncio.Event().wait()
