"""`costctl batch` as a process of its own, on behalf of the daemon (port BatchCommands)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costctl.errors import CostctlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from costctl.domain.http_batches import Fault

_LEASH = Path(__file__).with_name("processes") / "leash.py"
_LONGEST_LINE = 2**20
_LAST_BYTES = 4096


class BatchCommand:
    """One that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors = b""
        self._listening = asyncio.create_task(self._listen())

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what it tells, to its end."""
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        async for line in self._process.stdout:
            with suppress(ValueError):
                yield json.loads(line)

    async def wait(self) -> tuple[int, str]:
        """Return its exit code, a signal's negative, and its last words."""
        await self._listening
        code = await self._process.wait()
        lines = self._errors.decode(errors="replace").strip().splitlines()
        return code, lines[-1].removeprefix("costctl: ") if lines else ""

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _listen(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it was asked for
        while part := await self._process.stderr.read(_LAST_BYTES):
            self._errors = (self._errors + part)[-_LAST_BYTES:]


class BatchProcesses:
    """Starts them for the daemon in `home`; they end with this process."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def start(
        self, source: Path, results: Path, *, endpoint: str, model: str, give_up: Fault | None = None
    ) -> BatchCommand:
        """Run the lines of `source`, or give up those that are not done; `results` is in the same folder.

        Raises:
            CostctlError: it cannot be started.
        """
        command = [sys.executable, "-m", "costctl", "batch", "for-daemon", source.name, results.name, endpoint]
        command.append(f"--model={model}")
        if give_up is not None:
            command += ["--give-up", give_up.code, give_up.message]
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "COSTCTL_HOME": str(self._home)},
                cwd=results.parent,
                start_new_session=True,  # Ctrl-C in the daemon's terminal is for the daemon
                limit=_LONGEST_LINE,
            )
        except OSError as error:
            raise CostctlError(f"cannot start costctl batch: {error.strerror}") from error
        return BatchCommand(process)
