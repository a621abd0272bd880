"""The API server's side of the engine core: starting it, giving it orders, ending it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Self

CORE = Path(__file__).with_name("core.py")
END_WITHIN_S = 1.0


class CoreGoneError(Exception):
    """The engine core is dead and obeys no more."""


class CoreProcess:
    """The one child of the simulated engine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._claiming = asyncio.Lock()

    @classmethod
    async def spawn(cls, *, own_session: bool) -> Self:
        """Start an engine core in this process group, or out of it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(CORE),
            "sim-engine-core",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=own_session,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None while it lives."""
        return self._process.returncode

    async def claim(self, memory_bytes: int) -> None:
        """Have it hold that much VRAM; returns once the claim is visible.

        Raises:
            CoreGoneError: it died.
        """
        async with self._claiming:
            self._order(f"claim {memory_bytes}")
            if self._process.stdout is None or not await self._process.stdout.readline():
                await self._process.wait()
                raise CoreGoneError

    def show_load(self, sm_percent: int) -> None:
        """Have it show that load; nothing happens if it is dead."""
        self._order(f"busy {sm_percent}")

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._process.wait()

    async def end(self) -> None:
        """Have it end, and see that it does."""
        if self.exit_code is not None:
            return
        self._order("end")
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Kill it at once, if it lives."""
        if self.exit_code is None:
            self._process.kill()

    def _order(self, order: str) -> None:
        stdin = self._process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(order.encode() + b"\n")
