"""How busy the simulated GPU looks."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.adapters.engines.sim.core_process import CoreProcess

BUSY_SM_PERCENT = 97
IDLE_AFTER_S = 0.5
"""A shorter gap between requests does not show, as with NVML's sampling; so the claim is not written all the time."""


class GpuLoad:
    """Counts who uses the GPU and has the engine core show it."""

    def __init__(self, core: CoreProcess) -> None:
        self.users = 0
        self._core = core
        self._shown_busy = False
        self._last_used_at = 0.0

    @contextmanager
    def used(self) -> Iterator[None]:
        """Be one of the users."""
        self.users += 1
        if not self._shown_busy:
            self._shown_busy = True
            self._core.show_load(BUSY_SM_PERCENT)
            self._look_again_in(IDLE_AFTER_S)
        try:
            yield
        finally:
            self.users -= 1
            self._last_used_at = time.monotonic()

    def _look_again_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._show_idle_if_so)

    def _show_idle_if_so(self) -> None:
        idle_for = 0.0 if self.users else time.monotonic() - self._last_used_at
        if idle_for < IDLE_AFTER_S:
            self._look_again_in(IDLE_AFTER_S - idle_for)
            return
        self._shown_busy = False
        self._core.show_load(0)
