"""Read the signals of activity that the front door does not see by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from costctl.domain.durations import format_duration
from costctl.domain.gpus import busy_strangers
from costctl.domain.policy import Evidence
from costctl.errors import GpuError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costctl.daemon.run import EngineRun
    from costctl.daemon.supervisor import Supervisor
    from costctl.domain.gpus import GpuReading
    from costctl.ports import Clock, Gpus, Logins

ENGINE = "engine counters"
GPU = "other GPU programs"
_GPU_EVERY_S = 10.0


class Activity:
    """Reads engine counters, GPUs and terminals, each as rarely as its meaning allows, and whatever `watches` see."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        gpus: Gpus,
        logins: Logins,
        clock: Clock,
        recent_s: float,
        watches: Sequence[Callable[[], Evidence]] = (),
    ) -> None:
        self._supervisor = supervisor
        self._gpus = gpus
        self._logins = logins
        self._clock = clock
        self._recent_s = recent_s
        self._watches = watches
        self._gpu_read_at = float("-inf")
        self._gpu_unreadable = False
        self.readings: tuple[GpuReading, ...] = ()

    async def read(self, *, final: bool = False) -> tuple[Evidence, ...]:
        """Return what the signals show.

        GPUs are read only while the engine is up (a card that is polled does not sleep), and at the end (`final`), when
        everything is read anew before the engine or the instance is stopped.
        """
        evidence = [await asyncio.to_thread(self._logins.read, self._recent_s), *(watch() for watch in self._watches)]
        run = self._supervisor.run
        evidence.append(await self._engine(run, final=final))
        evidence += await self._gpu(run, final=final)
        return tuple(evidence)

    async def _engine(self, run: EngineRun | None, *, final: bool) -> Evidence:
        if run is None or run.ready_at is None:
            # Said each time: what an engine was doing when it died must not keep the machine up for ever.
            return Evidence(name=ENGINE, active=False, detail="no engine is ready")
        if final:
            await run.refresh()
        return self._judge_engine(run)

    def _judge_engine(self, run: EngineRun) -> Evidence:
        if run.counters_problem is not None:
            return Evidence(name=ENGINE, active=None, detail=run.counters_problem)
        now = run.counters
        if now is None:
            return Evidence(name=ENGINE, active=False, detail="this engine publishes none")
        held, state = now.running + now.waiting, self._supervisor.lifecycle
        if held > state.in_flight and run.counted_at >= state.last_work_at:
            # Work that came by no open request, as a response in the background; not one that ended since the count.
            return Evidence(name=ENGINE, active=True, detail=f"the engine works on {held} requests")
        if run.own_work_at is not None:
            age_s = self._clock.monotonic() - run.own_work_at
            words = f"tokens without a request at the front door, {format_duration(age_s)} ago"
            return Evidence(name=ENGINE, active=age_s < self._recent_s, detail=words, age_s=age_s)
        return Evidence(name=ENGINE, active=False, detail="no request and no token but the front door's")

    async def _gpu(self, run: EngineRun | None, *, final: bool) -> list[Evidence]:
        now = self._clock.monotonic()
        if run is None and not final and not self._gpu_unreadable:
            if self.readings:
                self.readings = ()
                await asyncio.to_thread(self._gpus.release)
            return [Evidence(name=GPU, active=False, detail="not watched while the engine is off")]
        became_ready = run is not None and run.ready_at is not None and run.ready_at > self._gpu_read_at
        if not (final or became_ready) and now - self._gpu_read_at < _GPU_EVERY_S:
            return []
        self._gpu_read_at = now
        try:
            self.readings = await asyncio.to_thread(self._gpus.read)
        except GpuError as error:
            # Looked at again also while the engine is off: otherwise its cap would begin anew with every final look.
            self._gpu_unreadable = True
            return [Evidence(name=GPU, active=None, detail=str(error))]
        self._gpu_unreadable = False
        return [self._judge_gpus(run)]

    def _judge_gpus(self, run: EngineRun | None) -> Evidence:
        if not self.readings:
            return Evidence(name=GPU, active=False, detail="no GPU is watched")
        strangers = busy_strangers(self.readings, run.pids() if run else frozenset())
        if strangers:
            named = ", ".join(f"process {process.pid} at {process.sm_percent} %" for process in strangers)
            return Evidence(name=GPU, active=True, detail=named)
        return Evidence(name=GPU, active=False, detail="no other program computes on a GPU")
