"""What can be done with the instance at the end of the ladder."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable

from costctl.errors import InstanceActionError

Runner = Callable[[tuple[str, ...]], Awaitable[int]]
"""Runs a program to its end and returns its exit code."""
_POWEROFF_COMMANDS = (("systemctl", "poweroff"), ("shutdown", "-h", "now"), ("poweroff",))
_TIME_LIMIT_S = 300.0


class EndDaemon:
    """Do nothing with the machine: the daemon just ends (port InstanceAction)."""

    promise = "stop the engine and exit; this machine is not powered off"

    async def perform(self) -> None:
        """Do nothing."""


class PowerOff:
    """Power the machine off through its operating system (port InstanceAction)."""

    promise = "stop the engine and POWER THIS MACHINE OFF"

    def __init__(self, run: Runner) -> None:
        self._run = run

    async def perform(self) -> None:
        """Try the operating system's ways in turn.

        Raises:
            InstanceActionError: none of them works here, as in most containers.
        """
        failures = []
        for command in _POWEROFF_COMMANDS:
            try:
                code = await self._run(command)
            except OSError as error:
                failures.append(f"{shlex.join(command)}: {error.strerror}")
                continue
            if code == 0:
                return
            failures.append(f"{shlex.join(command)}: exit code {code}")
        raise InstanceActionError(f"cannot power this machine off ({'; '.join(failures)}): it is still billed")


class RunCommand:
    """Run the user's own command, which stops the instance (port InstanceAction)."""

    def __init__(self, command: tuple[str, ...], run: Runner) -> None:
        self._command = command
        self._run = run

    @property
    def promise(self) -> str:
        """What will be run."""
        return f"stop the engine, run `{shlex.join(self._command)}` and exit"

    async def perform(self) -> None:
        """Run it.

        Raises:
            InstanceActionError: it cannot be run or fails.
        """
        try:
            code = await self._run(self._command)
        except OSError as error:
            raise InstanceActionError(f"cannot run {self._command[0]}: {error.strerror}; still billed") from error
        if code != 0:
            raise InstanceActionError(f"`{shlex.join(self._command)}` ended with exit code {code}: still billed")


async def run_program(command: tuple[str, ...], *, time_limit_s: float = _TIME_LIMIT_S) -> int:
    """Run a program to its end, without a shell, and return its exit code; 124 if it takes too long."""
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        return await asyncio.wait_for(process.wait(), time_limit_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        return 124
