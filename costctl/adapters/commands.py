"""Commands of costctl as processes of their own (port Commands).

A run holds a lock that its process inherits: it is free again when that process has ended, however it did and whoever
started it. So runs of one name never overlap, not even if the daemon is killed in the middle of one.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING

from costctl.domain.batches import RUN_VARIABLE
from costctl.errors import CostctlError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

_LOOK_AGAIN_S = 0.1
_LOGS_KEPT = 100
_LOG_END = "-YYYYmmddTHHMMSSZ.log"
_EXIT_CODE = ".exit"
_LAST_LINES = 5
_LAST_BYTES = 4096


class CostctlCommands:
    """Runs commands; locks and logs lie in `folder`, and `environment` is added to this process's own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment

    def log_of(self, name: str, at: datetime) -> Path:
        """Return where the output of a run that starts then goes."""
        return self._folder / f"{name}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}.log"

    def runs(self, name: str) -> bool:
        """Return whether the last one of that name still runs; blocking. Raises CostctlError."""
        fd = self._lock(name)
        if fd is not None:
            os.close(fd)
        return fd is None

    def exit_code_of(self, log: Path) -> int | None:
        """Return how the one with that log ended; None if it was killed, or nobody knows; blocking."""
        try:
            return int(log.with_suffix(_EXIT_CODE).read_text())
        except (OSError, ValueError):
            return None

    async def start(
        self, name: str, arguments: Sequence[str], *, folder: str, log: Path, run_id: int
    ) -> CostctlCommand | None:
        """Start one in `folder` that knows its number; None if the last one of that name still runs.

        Raises:
            CostctlError: it cannot be started.
        """
        lock = await asyncio.to_thread(self._lock, name)
        if lock is None:  # or somebody only looks whether it runs
            await asyncio.sleep(_LOOK_AGAIN_S)
            lock = await asyncio.to_thread(self._lock, name)
        if lock is None:
            return None
        try:
            with log.open("ab", buffering=0) as output:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "costctl.cli.scheduled",
                    str(log.with_suffix(_EXIT_CODE)),
                    *arguments,
                    cwd=folder,
                    env=os.environ | self._environment | {RUN_VARIABLE: str(run_id)},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    pass_fds=(lock,),
                    start_new_session=True,  # Ctrl-C in the daemon's terminal is for the daemon
                )
            self._clear_old_logs(name)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise CostctlError(f"cannot start it: {where}{error.strerror}") from error
        finally:
            os.close(lock)
        return CostctlCommand(process, log)

    def _clear_old_logs(self, name: str) -> None:
        logs = [path for path in self._folder.glob("*.log") if path.name[: -len(_LOG_END)] == name]
        for path in sorted(logs)[:-_LOGS_KEPT]:
            path.unlink(missing_ok=True)
            path.with_suffix(_EXIT_CODE).unlink(missing_ok=True)

    def _lock(self, name: str) -> int | None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CostctlError(f"cannot write to {self._folder}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd


class CostctlCommand:
    """One that was started (port Command)."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def wait(self) -> int:
        """Return its exit code when it has ended; a signal that ended it is negative."""
        return await self._process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Kill it."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def last_lines(self) -> str:
        """Return the end of its output; blocking."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
                text = file.read().decode(errors="replace")
        except OSError as error:
            return f"its log cannot be read: {error.strerror}"
        return "\n".join(text.rstrip().splitlines()[-_LAST_LINES:])
