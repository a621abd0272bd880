"""The system's clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """Real time (port Clock)."""

    def now(self) -> datetime:
        """Return the wall clock's time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC, which stands still while the machine is suspended."""
        return time.monotonic()

    def suspended_s(self) -> float:
        """Return how long the machine has been suspended since its boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        await asyncio.sleep(seconds)
