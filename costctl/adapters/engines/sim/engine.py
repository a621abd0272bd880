"""The engine behind the HTTP server: who runs, who waits, how fast tokens come, and how it all is cut short."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.adapters.engines.sim.failures import Kind
from costctl.adapters.engines.sim.last_words import ENGINE_DIED
from costctl.adapters.engines.sim.metrics import Counters, Gauges

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from typing import Any

    from costctl.adapters.engines.sim.core_process import CoreProcess
    from costctl.adapters.engines.sim.settings import Settings

BUSY_SM_PERCENT = 97
IDLE_AFTER_S = 0.5
"""A gap between requests shorter than this does not show as idle, as with NVML's sampling."""
UNARY_TICK_S = 0.05
"""A request that is not streamed wakes only this often."""
ASLEEP_SHARE = 0.1
WEIGHTS_SHARE = 0.5
KV_TOKENS = 1_000_000
SHUT_DOWN = "cannot schedule new futures after shutdown"
SLEEP_STATES = {0: "awake", 1: "weights_offloaded", 2: "discard_all"}
WAKE_TAGS = frozenset({"weights", "kv_cache"})


class InterruptedRequestError(Exception):
    """The engine, not the client, cut a request short; `str()` is what vLLM says about it."""


@dataclass(eq=False, kw_only=True, slots=True)
class Run:
    """One inference request."""

    task: asyncio.Task[Any]
    number: int
    arrived_at: float
    interruption: str | None = None


class Engine:
    """Admission, pacing, sleep and death; all in one event loop, so without locks."""

    def __init__(self, settings: Settings, core: CoreProcess) -> None:
        self.settings = settings
        self.counters = Counters(created_at=time.time())
        self.dead = False
        self.draining = False
        self.aborted = 0
        self.sleep_level: int | None = None
        self._core = core
        self._runs: set[Run] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._awake = asyncio.Event()
        self._awake.set()
        self._asleep_parts: frozenset[str] = frozenset()
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._running = 0
        self._waiting = 0
        self._arrivals = 0
        self._shown_busy = False
        self._last_busy_at = 0.0

    @property
    def unfinished(self) -> int:
        """Requests that have not been answered, asleep ones included."""
        return len(self._runs)

    def gauges(self) -> Gauges:
        """Return what goes up and down; a request that waits for the engine to wake shows nowhere, as in vLLM."""
        return Gauges(
            running=self._running,
            waiting=self._waiting,
            kv_cache_usage=min(1.0, self._running * 512 / KV_TOKENS),
            sleep_state=SLEEP_STATES[self.sleep_level or 0],
        )

    @asynccontextmanager
    async def request(self) -> AsyncIterator[Run]:
        """Admit one inference request: wait while asleep, then for a free slot.

        Raises:
            InterruptedRequestError: the engine is dead or shutting down, or became so.
        """
        self._refuse()
        self._arrivals += 1
        run = Run(task=_current_task(), number=self._arrivals, arrived_at=time.monotonic())
        self._runs.add(run)
        self._quiet.clear()
        try:
            await self._awake.wait()
            async with self._slot():
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
        finally:
            self._runs.discard(run)
            if not self._runs:
                self._quiet.set()

    async def generate(self, run: Run, prompt: int, length: int, emit: Callable[[int], Awaitable[None]] | None) -> None:
        """Let `length` tokens pass at the engine's speed; call `emit` with the number of each if it is given."""
        if Kind.ZOMBIE in self.settings.failures:
            await _forever()
        await asyncio.sleep(self.settings.first_token_seconds)
        self.counters.prompt_tokens += prompt
        began = time.monotonic()
        self.counters.note_first_token(began - run.arrived_at)
        rate = self.settings.tokens_per_second
        step = 1 if emit else max(1, int(rate * UNARY_TICK_S) or length)
        breaks_at = self._breaking_point(run, length, streamed=emit is not None)
        done = 0
        while done < length:
            if not self._awake.is_set():
                await self._awake.wait()
            step = min(step, length - done)
            done += step
            self.counters.generation_tokens += step
            if emit:
                await emit(done - 1)
            if breaks_at is not None and done >= breaks_at:
                await self._break(run)
            # Absolute times: a late token does not delay the ones after it. Every chunk gets a turn of the loop, and
            # with it a write of its own.
            await asyncio.sleep(max(0.0, began + done / rate - time.monotonic()) if rate else 0)

    def finish(self, reason: str) -> None:
        """Count a request that was answered."""
        self.counters.finished[reason] += 1

    async def drained(self, within_seconds: float) -> None:
        """Return when no request is left, or at the end of the time."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._quiet.wait()
        except TimeoutError:
            return

    def interrupt_all(self, message: str) -> None:
        """Cut every request short."""
        for run in self._runs:
            if run.interruption is None:
                run.interruption = message
                run.task.cancel()

    def die(self) -> None:
        """The engine core is dead: nothing is answered any more."""
        self.dead = True
        self.interrupt_all(ENGINE_DIED)

    async def sleep(self, level: int, mode: str) -> None:
        """Go to sleep: 0 pauses only, 1 and 2 give VRAM back, if sleep mode is on. `mode` is abort, wait or keep."""
        if mode == "abort":
            self.interrupt_all("Request was aborted because the engine goes to sleep.")
        if mode != "keep":
            await self._quiet.wait()
        self._awake.clear()
        await asyncio.sleep(self.settings.sleep_seconds)
        self.sleep_level = level
        self._asleep_parts = WAKE_TAGS
        if level and self.settings.sleep_mode:
            await self._core.claim(round(self.settings.vram_bytes * ASLEEP_SHARE))

    async def wake(self, tags: frozenset[str]) -> bool:
        """Wake these parts; return whether the engine is now fully awake."""
        await asyncio.sleep(self.settings.sleep_seconds)
        self._asleep_parts -= tags
        share = WEIGHTS_SHARE if self._asleep_parts else 1.0
        if self.sleep_level and self.settings.sleep_mode:
            await self._core.claim(round(self.settings.vram_bytes * share))
        if not self._asleep_parts:
            self.sleep_level = None
            self._awake.set()
        return not self._asleep_parts

    def _refuse(self) -> None:
        if Kind.ERROR_500 in self.settings.failures:
            raise InterruptedRequestError("Internal server error")
        if self.dead:
            raise InterruptedRequestError(ENGINE_DIED)
        if self.draining:
            raise InterruptedRequestError(SHUT_DOWN)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        with self._counted_as_waiting():
            await self._slots.acquire()
        self._running += 1
        self._show_busy()
        try:
            yield
        finally:
            self._running -= 1
            self._last_busy_at = time.monotonic()
            self._slots.release()

    @contextmanager
    def _counted_as_waiting(self) -> Iterator[None]:
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _show_busy(self) -> None:
        if not self._shown_busy:
            self._shown_busy = True
            self._core.show_load(BUSY_SM_PERCENT)
            self._look_for_idleness_in(IDLE_AFTER_S)

    def _look_for_idleness_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._show_idle)

    def _show_idle(self) -> None:
        quiet_for = 0.0 if self._running else time.monotonic() - self._last_busy_at
        if quiet_for < IDLE_AFTER_S:
            self._look_for_idleness_in(IDLE_AFTER_S - quiet_for)
            return
        self._shown_busy = False
        self._core.show_load(0)

    def _breaking_point(self, run: Run, length: int, *, streamed: bool) -> int | None:
        failures = self.settings.failures
        if failures.number(Kind.CRASH_AFTER) == run.number:
            return (length + 1) // 2
        return failures.number(Kind.KILL_STREAM) if streamed else None

    async def _break(self, run: Run) -> None:
        await asyncio.sleep(0)  # the chunks so far leave the process
        if self.settings.failures.number(Kind.CRASH_AFTER) == run.number:
            self._core.kill()
            await _forever()
        os._exit(1)


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("an inference request runs in a task")
    return task


async def _forever() -> None:
    await asyncio.Event().wait()
