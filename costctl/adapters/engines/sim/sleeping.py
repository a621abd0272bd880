"""Sleep mode: what `/sleep` and `/wake_up` do to requests and to VRAM."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costctl.adapters.engines.sim.core_process import CoreProcess
    from costctl.adapters.engines.sim.settings import Settings

ASLEEP_SHARE = 0.1
"""What a sleeping engine still holds of its VRAM: the context and the graphs."""
HALF_AWAKE_SHARE = 0.5
STATES = {None: "awake", 0: "awake", 1: "weights_offloaded", 2: "discard_all"}
TAGS = frozenset({"weights", "kv_cache"})


class SleepMode:
    """Awake, or asleep at level 0 (paused, nothing freed), 1 or 2 (VRAM freed, if sleep mode was enabled)."""

    def __init__(self, settings: Settings, core: CoreProcess) -> None:
        self.level: int | None = None
        self._settings = settings
        self._core = core
        self._asleep: frozenset[str] = frozenset()
        self._open, self._thawed = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._thawed.set()

    @property
    def state(self) -> str:
        """How the metrics name it."""
        return STATES[self.level]

    async def admit(self) -> None:
        """Let a new request in once the engine is awake."""
        await self._open.wait()

    async def stay_awake(self) -> None:
        """Hold a running request while the engine sleeps."""
        await self._thawed.wait()

    def close(self) -> None:
        """Let no new request in; the running ones go on."""
        self._open.clear()

    async def fall_asleep(self, level: int) -> None:
        """Freeze what still runs and give VRAM back.

        Raises:
            CoreGoneError: the engine core died.
        """
        self._thawed.clear()
        await asyncio.sleep(self._settings.sleep_seconds)
        self.level = level
        self._asleep = TAGS
        await self._hold(ASLEEP_SHARE)

    async def wake(self, tags: frozenset[str]) -> bool:
        """Wake these parts; return whether the engine is now fully awake.

        Raises:
            CoreGoneError: the engine core died.
        """
        await asyncio.sleep(self._settings.sleep_seconds)
        self._asleep -= tags
        await self._hold(HALF_AWAKE_SHARE if self._asleep else 1.0)
        if self._asleep:
            return False
        self.level = None
        self._thawed.set()
        self._open.set()
        return True

    async def _hold(self, share: float) -> None:
        # Without --enable-sleep-mode vLLM reports that it sleeps, and frees nothing.
        if self.level and self._settings.sleep_mode:
            await self._core.claim(round(self._settings.vram_bytes * share))
