"""The end of an engine: asked, killed, and proved gone; process, socket and GPU memory."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from costctl.domain.durations import format_duration
from costctl.domain.gpus import memory_still_held
from costctl.errors import GpuError
from costctl.waiting import done_within

if TYPE_CHECKING:
    from costctl.domain.engines import Endpoint
    from costctl.domain.gpus import GpuReading
    from costctl.ports import Clock, EngineApi, EngineProcess, Gpus

logger = logging.getLogger(__name__)

_TERMINATE_AGAIN_S = 2.0
"""vLLM swallows a SIGTERM during its start (seen with 0.32), so it is sent again."""
_LAST_PROCESSES_S = 2.0
_GONE_TIMEOUT_S = 15.0
_VRAM_TIMEOUT_S = 30.0
_VRAM_SLACK_BYTES = 512 * 2**20
_LOOK_AGAIN_S = 0.25
_STUCK_LOOK_S = 5.0


class EngineMemory:
    """The GPU memory of one engine run: how much was in use before it, and what it has not given back."""

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus
        self._baseline: tuple[GpuReading, ...] | None = None
        self._pids: frozenset[int] = frozenset()
        self.note: str | None = None
        """Why the return of the memory was not verified, if it was not."""

    async def take_baseline(self) -> None:
        """Read what is in use before the engine is launched."""
        self._baseline = await self._read()
        if self._baseline is None:
            self.note = "GPU memory could not be read before the start, so its return was not verified"

    def remember(self, pids: frozenset[int]) -> None:
        """Remember processes as the engine's: what they hold later is its memory."""
        self._pids |= pids

    async def held_bytes(self) -> int:
        """Return what has not come back, 0 where that cannot be known."""
        if self._baseline is None:
            return 0
        readings = await self._read()
        if readings is None:
            self.note = "GPU memory could not be read after the stop, so its return was not verified"
            return 0
        return memory_still_held(self._baseline, readings, ours=self._pids, slack_bytes=_VRAM_SLACK_BYTES)

    async def _read(self) -> tuple[GpuReading, ...] | None:
        try:
            return await asyncio.to_thread(self._gpus.read)
        except GpuError as error:
            logger.warning("%s", error)
            return None


class Ending:
    """Ends one engine."""

    def __init__(
        self, *, process: EngineProcess, api: EngineApi, endpoint: Endpoint, memory: EngineMemory, clock: Clock
    ) -> None:
        self._process = process
        self._api = api
        self._endpoint = endpoint
        self._memory = memory
        self._clock = clock

    async def carry_out(self, *, patience_s: float) -> str | None:
        """Terminate, kill, verify; return what is left in words, None if nothing is. No patience: kill at once."""
        if patience_s:
            await self._terminate(patience_s)
        if not await self._gone_within(_LAST_PROCESSES_S if patience_s else 0):
            self._process.kill()
        if not await self._gone_within(_GONE_TIMEOUT_S):
            return f"processes that even SIGKILL did not end: {', '.join(map(str, sorted(self._process.pids())))}"
        if await self._api.reachable():
            return f"something still listens on {self._endpoint}"
        return await self._memory_left()

    async def until_gone(self) -> None:
        """Wait, for as long as it takes, until what was left is gone after all."""
        await asyncio.wait({self._process.gone})
        while await self._api.reachable() or await self._memory.held_bytes():
            await self._clock.sleep(_STUCK_LOOK_S)

    async def _terminate(self, patience_s: float) -> None:
        deadline = self._clock.monotonic() + patience_s
        while not self._process.exited.done() and self._clock.monotonic() < deadline:
            self._process.terminate()
            await done_within(self._clock, self._process.exited, _TERMINATE_AGAIN_S)
        if not self._process.exited.done():
            logger.warning("engine: did not end within %s, killing it", format_duration(patience_s))

    async def _gone_within(self, seconds: float) -> bool:
        return await done_within(self._clock, self._process.gone, seconds)

    async def _memory_left(self) -> str | None:
        deadline = self._clock.monotonic() + _VRAM_TIMEOUT_S
        while held := await self._memory.held_bytes():
            if self._clock.monotonic() >= deadline:
                return f"{held / 2**20:,.0f} MiB of GPU memory did not come back"
            await self._clock.sleep(_LOOK_AGAIN_S)
        return None
