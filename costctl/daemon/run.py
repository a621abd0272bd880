"""One life of the engine's process: launched, awaited, watched, ended, and proved gone."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from costctl.daemon.ending import Ending, EngineMemory
from costctl.domain import lifecycle as life
from costctl.domain.diagnosis import Diagnosis, diagnose
from costctl.domain.durations import format_duration
from costctl.domain.startup import StartTrack, breakdown, observe
from costctl.errors import CostctlError, EngineUnreadableError
from costctl.waiting import done_within

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from costctl.domain.engines import Counters, LaunchPlan
    from costctl.ports import Clock, Engine, EngineApi, EngineProcess, Gpus, Launcher

logger = logging.getLogger(__name__)

_POLL_START_S = 0.25
_WATCH_EVERY_S = 5.0
_DEAF_AFTER_FAILURES = 3
_CANARY_TIMEOUT_S = 60.0
_COUNTERS_LAG_S = 2.0
"""How late the engine's counters may show what a request did."""
_TAIL_LINES = 400
_START_STOP_S = 5.0
"""How long an engine that is still starting may take to end: it has nothing to lose."""


class RunBook(Protocol):
    """Where a run is written down."""

    def run_began(self, run: EngineRun) -> None:
        """The engine is about to be launched (before it is)."""
        ...

    def run_ready(self, run: EngineRun, startup: dict[str, float]) -> None:
        """The engine is ready; `startup` is the seconds of each phase."""
        ...

    def run_ended(self, run: EngineRun, outcome: str, detail: str | None) -> None:
        """Nothing of the engine is left."""
        ...

    def tokens_worked(self, model: str, prompt: int, generation: int) -> None:
        """The engine's counters have grown."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long things may take, in seconds."""

    start_s: float
    drain_s: float
    stop_s: float
    stall_s: float


class _BrokenError(Exception):
    """The engine failed; the message is its diagnosis in one or two lines."""


class EngineRun:
    """One run. It reports to the supervisor with lifecycle events, in the order in which a life has them."""

    def __init__(
        self,
        *,
        engine: Engine,
        launcher: Launcher,
        connect: Callable[[LaunchPlan], EngineApi],
        gpus: Gpus,
        clock: Clock,
        book: RunBook,
        limits: Limits,
        log_line: Callable[[str], None],
        earlier_starts_s: Sequence[float],
        lifecycle: Callable[[], life.Lifecycle],
        report: Callable[[life.Event], None],
    ) -> None:
        self._engine = engine
        self._launcher = launcher
        self._connect = connect
        self._clock = clock
        self._book = book
        self._limits = limits
        self._log_line = log_line
        self._lifecycle = lifecycle
        self._report = report
        self._process: EngineProcess | None = None
        self._api: EngineApi | None = None
        self._end = asyncio.Event()
        self._drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._counting = asyncio.Lock()
        self._kill_at_once = False
        self._unplanned: str | None = None
        self._memory = EngineMemory(gpus)
        self._progress_at = 0.0
        self.counted_at = self._probed_at = 0.0
        self.launched_at = clock.monotonic()
        self.ready_at: float | None = None
        self.plan: LaunchPlan | None = None
        self.track = StartTrack()
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.counters: Counters | None = None
        self.counters_problem: str | None = None
        self.own_work_at: float | None = None
        self.diagnosis: Diagnosis | None = None
        self.usual_s = _median(earlier_starts_s)
        self.note: str | None = None

    # --- to look at ----------------------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """The model's name as clients say it."""
        return self.plan.model if self.plan else self._engine.model

    @property
    def kind(self) -> str:
        """The kind of engine."""
        return self._engine.kind

    @property
    def pid(self) -> int | None:
        """The API server's process."""
        return self._process.pid if self._process else None

    def pids(self) -> frozenset[int]:
        """Return all processes of the engine."""
        return self._process.pids() if self._process else frozenset()

    def remaining_s(self) -> float | None:
        """Return how long the start will take by the median of earlier ones, None if there were none."""
        if self.usual_s is None:
            return None
        return max(1.0, self.usual_s - (self._clock.monotonic() - self.launched_at))

    # --- orders --------------------------------------------------------------------------------------------------

    def end(self, *, drained: bool) -> None:
        """End the engine; `drained` when no request is in flight (any more). May be called again."""
        self._end.set()
        if drained and not self._drained.done():
            self._drained.set_result(None)

    def kill(self) -> None:
        """Kill the engine at once, or as soon as its process is there."""
        self._kill_at_once = True
        self.end(drained=True)
        if self._process is not None:
            self._process.kill()

    # --- a life --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Plan the launch and write the run down, before `live`; what goes wrong here is told there."""
        try:
            self.plan = self._engine.plan()
        except Exception as error:  # noqa: BLE001 - part of the supervisor's step, which nothing may tear apart
            self._unplanned = _in_words(error)
        self._book.run_began(self)

    async def live(self) -> None:
        """Live from launch to the proof that nothing is left."""
        broken: str | None = None
        try:
            await self._launch()
            await self._live_until_end()
        except Exception as error:  # noqa: BLE001 - the outermost of a life: whatever broke it, who waits must hear of it
            broken = _in_words(error)
            logger.error("engine: %s", broken)  # noqa: TRY400 - for people, who need no traceback
            self._report(life.EngineBroke(broken))
        await self._finish(broken)

    async def _launch(self) -> None:
        if self._unplanned is not None:
            raise _BrokenError(self._unplanned)
        await self._memory.take_baseline()
        self._api = self._connect(self._plan())
        logger.info("engine: starting %s%s", self.model, f", usually {self.usual_s:.0f} s" if self.usual_s else "")
        self._process = await self._launcher.launch(self._plan(), self._take_line)
        if self._kill_at_once:
            self._process.kill()

    async def _live_until_end(self) -> None:
        if await self._first_to_end(self._become_ready()):
            await self._first_to_end(self._watch())

    async def _first_to_end(self, stage: Coroutine[None, None, None]) -> bool:
        """Run a stage of life; return whether it came to its own end rather than to an order to end.

        Raises:
            _BrokenError: the process ended, or the stage found the engine broken.
        """
        process = self._running()
        task = asyncio.create_task(stage)
        ordered = asyncio.create_task(self._end.wait())
        first: set[asyncio.Future[Any]] = {task, ordered, process.exited}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        for other in (task, ordered):
            if not other.done():
                other.cancel()
        await asyncio.wait({task, ordered})
        failure = None if task.cancelled() else task.exception()
        if self._end.is_set():
            return False
        if process.exited.done():
            raise self._broken_by_exit(process)
        if failure is not None:
            raise failure
        return True

    async def _become_ready(self) -> None:
        deadline = self.launched_at + self._limits.start_s
        api = self._connected()
        while not await api.healthy():
            if self._clock.monotonic() >= deadline:
                limit = format_duration(self._limits.start_s)
                doing = self.track.phase.value
                raise _BrokenError(f"it was not ready after {limit} (--start-timeout); it was busy with {doing}")
            await self._clock.sleep(_POLL_START_S)
        await self._check_owner(api)
        # /health alone is no proof: vLLM answers it while it sleeps, drains, or cannot generate.
        if not await self._probe(api):
            raise _BrokenError("it answers its health route but no request")
        self._memory.remember(self.pids())
        self.ready_at = self._progress_at = self.counted_at = self._clock.monotonic()
        self._book.run_ready(self, breakdown(self.track, self.ready_at - self.launched_at))
        logger.info("engine: ready after %.1f s", self.ready_at - self.launched_at)
        self._report(life.EngineAnswered())

    async def _check_owner(self, api: EngineApi) -> None:
        owner = await api.listening_pid()
        if owner is not None and owner not in self._running().pids():
            raise _BrokenError(f"process {owner}, which costctl did not start, listens on {self._plan().endpoint}")

    async def _watch(self) -> None:
        failures = 0
        api = self._connected()
        while True:
            await self._clock.sleep(_WATCH_EVERY_S)
            failures = 0 if await api.healthy() else failures + 1
            if failures >= _DEAF_AFTER_FAILURES:
                raise _BrokenError(f"its health route failed {failures} times in a row")
            self._memory.remember(self.pids())
            await self.refresh()
            await self._check_progress(api)

    async def refresh(self) -> None:
        """Read the engine's counters now and account for the tokens since the last time."""
        async with self._counting:  # two at once would count the same tokens twice
            after = await self._read_counters()
            if after is not None:
                self._count(after)

    def _count(self, after: Counters) -> None:
        before, self.counters = self.counters, after
        counted_at, self.counted_at = self.counted_at, self._clock.monotonic()
        if before is None or after.tokens <= before.tokens:
            return
        self._progress_at = self.counted_at
        if not self._known_work(since=counted_at - _COUNTERS_LAG_S):
            self.own_work_at = self.counted_at
        self._book.tokens_worked(
            self.model,
            max(0, after.prompt_tokens - before.prompt_tokens),
            max(0, after.generation_tokens - before.generation_tokens),
        )

    def _known_work(self, *, since: float) -> bool:
        """Return whether requests or our own probe explain new tokens: these are no activity a second time, later."""
        state = self._lifecycle()
        return state.in_flight > 0 or max(state.last_work_at, self._probed_at) >= since

    async def _probe(self, api: EngineApi) -> bool:
        """Ask for one token and return whether an answer came; these tokens are nobody's usage."""
        async with self._counting:
            answered = await api.generates(_CANARY_TIMEOUT_S)
            self._probed_at = self._clock.monotonic()
            self.counters = await self._read_counters() or self.counters
        return answered

    async def _read_counters(self) -> Counters | None:
        try:
            counters = await self._connected().counters()
        except EngineUnreadableError as error:
            self.counters_problem = str(error)
            return None
        self.counters_problem = None
        return counters

    async def _check_progress(self, api: EngineApi) -> None:
        if self.counters is None:
            return  # without counters a long generation cannot be told from a stalled engine
        now = self._clock.monotonic()
        if not self._lifecycle().in_flight:
            self._progress_at = now
        if now - self._progress_at < self._limits.stall_s:
            return
        if await self._probe(api):
            self._progress_at = self._clock.monotonic()
            return
        stalled = format_duration(now - self._progress_at)
        raise _BrokenError(f"it answers its health route but no request: none made progress for {stalled}")

    # --- the end of a life ---------------------------------------------------------------------------------------

    async def _finish(self, broken: str | None) -> None:
        if self._process is not None:
            await self._end_process(self._process, graceful=broken is None)
        if self._api is not None:
            await self._api.close()
        logger.info("engine: stopped, nothing of it is left%s", f" ({self.note})" if self.note else "")
        outcome = "stopped" if broken is None else ("crashed" if self.ready_at else "failed")
        self._book.run_ended(self, outcome, broken)
        self._report(life.EngineGone())

    async def _end_process(self, process: EngineProcess, *, graceful: bool) -> None:
        if graceful:
            await self._drain()
            await self.refresh()
        patience_s = self._limits.stop_s if self.ready_at is not None else min(_START_STOP_S, self._limits.stop_s)
        ending = Ending(
            process=process,
            api=self._connected(),
            endpoint=self._plan().endpoint,
            memory=self._memory,
            clock=self._clock,
        )
        if left := await ending.carry_out(patience_s=patience_s if graceful else 0):
            logger.error("engine: STUCK, and the machine is still billed: %s", left)
            self._report(life.EngineRemains(left))
            await ending.until_gone()
        self.note = self._memory.note

    async def _drain(self) -> None:
        if self.ready_at is not None and not self._drained.done():
            logger.info("engine: waiting for %d requests to end", self._lifecycle().in_flight)
            if not await done_within(self._clock, self._drained, self._limits.drain_s):
                logger.warning("engine: %d requests are cut off after the drain timeout", self._lifecycle().in_flight)

    # --- small things --------------------------------------------------------------------------------------------

    def _take_line(self, line: str) -> None:
        self.tail.append(line)
        self._log_line(line)
        if self.ready_at is None:
            before, at_s = self.track.phase, self._clock.monotonic() - self.launched_at
            self.track = observe(self.track, line, at_s)
            if self.track.phase is not before:
                logger.info("engine: %s (%.0f s%s)", self.track.phase.value, at_s, self._usual())

    def _usual(self) -> str:
        return f" of usually {self.usual_s:.0f} s" if self.usual_s else ""

    def _broken_by_exit(self, process: EngineProcess) -> _BrokenError:
        status = process.exited.result()
        self.diagnosis = diagnose(
            list(self.tail), exit_code=status.code, signal=status.signal, ready=self.ready_at is not None
        )
        return _BrokenError(f"{self.diagnosis.summary}. {self.diagnosis.advice}")

    def _running(self) -> EngineProcess:
        assert self._process is not None  # noqa: S101 - only called once it was launched
        return self._process

    def _connected(self) -> EngineApi:
        assert self._api is not None  # noqa: S101 - only called once it was launched
        return self._api

    def _plan(self) -> LaunchPlan:
        assert self.plan is not None  # noqa: S101 - only called once it was launched
        return self.plan


def _in_words(error: Exception) -> str:
    """Return what broke an engine, for people; a fault of our own is logged with its traceback."""
    if isinstance(error, _BrokenError | CostctlError | OSError):
        return str(error)
    logger.error("a fault in costctl", exc_info=error)
    return f"a fault in costctl: {error!r}"


def _median(values: Sequence[float]) -> float | None:
    ordered = sorted(values)
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
