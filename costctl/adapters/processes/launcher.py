"""Start an engine under its keeper, read what it prints, and pass orders on."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from costctl.adapters.processes.leftovers import end_leftovers
from costctl.domain.engines import ExitStatus
from costctl.errors import EngineStartError

if TYPE_CHECKING:
    from collections.abc import Callable

    from costctl.domain.engines import LaunchPlan

KEEPER = Path(__file__).with_name("keeper.py")
_LONGEST_LINE = 64 * 1024


class KeptEngine:
    """An engine under a keeper (port EngineProcess)."""

    def __init__(self, keeper: asyncio.subprocess.Process, record: Path) -> None:
        loop = asyncio.get_running_loop()
        self.pid = 0
        self.exited: asyncio.Future[ExitStatus] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self._keeper = keeper
        self._record = record
        self._tasks: set[asyncio.Task[None]] = set()

    def pids(self) -> frozenset[int]:
        """Return the engine's processes, without the keeper."""
        try:
            return frozenset(child.pid for child in psutil.Process(self._keeper.pid).children(recursive=True))
        except psutil.Error:
            return frozenset()

    def terminate(self) -> None:
        """Send SIGTERM to the API server only: the group's other processes lose requests when signalled."""
        self._order(b"t")

    def kill(self) -> None:
        """Send SIGKILL to everything that descends from the keeper."""
        self._order(b"k")

    def _order(self, letter: bytes) -> None:
        stdin = self._keeper.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(letter)

    async def watch(self, status: asyncio.StreamReader, started: asyncio.Future[None]) -> None:
        """Follow the keeper's lines to its end."""
        word = ""
        async for raw in status:
            word, _, rest = raw.decode().strip().partition(" ")
            if word == "started":
                self.pid = int(rest)
                started.set_result(None)
            elif word == "failed":
                started.set_exception(EngineStartError(os.strerror(int(rest))))
            elif word == "exited":
                code, signal = (int(number) for number in rest.split())
                self.exited.set_result(ExitStatus(code=None if signal else code, signal=signal or None))
        if word == "gone":
            await self._keeper.wait()
        else:
            # Not waited for: asyncio calls a process ended only when nobody holds its output any more, and who
            # outlives the keeper does.
            await self._bury(started)
        self.gone.set_result(None)

    async def _bury(self, started: asyncio.Future[None]) -> None:
        """End what the keeper leaves that was killed itself: by the kernel's hand its first process (PDEATHSIG)."""
        if not started.done():
            started.set_exception(EngineStartError("the keeper process ended before the engine was started"))
        if not self.exited.done():
            self.exited.set_result(ExitStatus(signal=9))
        await asyncio.to_thread(end_leftovers, self._record)

    def own(self, task: asyncio.Task[None]) -> None:
        """Keep a reference to a task that lives as long as the engine."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class KeeperLauncher:
    """Starts engines under keepers (port Launcher). `record` is the file that names the running engine."""

    def __init__(self, record: Path) -> None:
        self._record = record

    async def launch(self, plan: LaunchPlan, on_line: Callable[[str], None]) -> KeptEngine:
        """Start the engine of `plan`.

        Raises:
            EngineStartError: its program cannot be executed.
        """
        status_read, status_write = os.pipe()
        try:
            keeper = await self._start_keeper(plan, status_write)
        except OSError as error:
            os.close(status_read)
            raise EngineStartError(f"cannot start {plan.argv[0]}: {error.strerror}") from error
        finally:
            os.close(status_write)
        engine = KeptEngine(keeper, self._record)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        engine.own(asyncio.create_task(engine.watch(await _reader(status_read), started)))
        assert keeper.stdout is not None  # noqa: S101 - it was asked for above
        engine.own(asyncio.create_task(_pump(keeper.stdout, on_line)))
        try:
            await started
        except EngineStartError as error:
            await engine.gone
            raise EngineStartError(f"cannot run {plan.argv[0]}: {error}") from None
        return engine

    async def _start_keeper(self, plan: LaunchPlan, status_fd: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(KEEPER), str(status_fd), str(self._record), *plan.argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **plan.environment},
            pass_fds=(status_fd,),
            start_new_session=True,
            limit=_LONGEST_LINE,
        )


async def _reader(fd: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    file = os.fdopen(fd, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader


async def _pump(output: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    """Hand on every line; a progress bar's carriage returns and endless lines are cut into lines too."""
    rest = b""
    while chunk := await output.read(_LONGEST_LINE):
        *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if line:
                on_line(line.decode(errors="replace"))
        if len(rest) > _LONGEST_LINE:
            on_line(rest.decode(errors="replace"))
            rest = b""
    if rest:
        on_line(rest.decode(errors="replace"))
