"""Child processes of a benchmark: started, watched for the CPU they use, and always ended by their own id."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

STOP_TIMEOUT_S = 15.0


def free_port() -> int:
    """Find a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """Read the CPU time, user and system, of all threads of a process; to the nanosecond, unlike /proc/PID/stat.

    Raises:
        ProcessLookupError: it is gone.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) makes of a pid on Linux
    except OSError as exc:
        raise ProcessLookupError(f"process {pid} is gone") from exc


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """A process and all its descendants, but for one (and its own): the engine that the front door started."""

    root: int
    left_out: int | None = None

    def pids(self) -> list[int]:
        return [self.root, *self._below(psutil.Process(self.root))]

    def cpu(self) -> dict[int, float]:
        """Read the CPU seconds of each process of the tree."""
        used: dict[int, float] = {}
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                used[pid] = cpu_seconds(pid)
        if self.root not in used:
            raise ProcessLookupError(f"process {self.root} has ended")
        return used

    def rss_bytes(self) -> int:
        return sum(psutil.Process(pid).memory_info().rss for pid in self.pids())

    def _below(self, process: psutil.Process) -> Iterator[int]:
        for child in process.children():
            if child.pid != self.left_out:
                yield child.pid
                with contextlib.suppress(psutil.NoSuchProcess):
                    yield from self._below(child)


def cpu_between(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Sum the CPU seconds used between two readings of a tree; processes that came in between count from zero."""
    return sum(used - before.get(pid, 0.0) for pid, used in after.items())


@contextlib.contextmanager
def running(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str], stop_timeout_s: float = STOP_TIMEOUT_S
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, its words going to a file, and end it with everything below it when the block is left."""
    with log.open("wb") as words:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, env={**os.environ, **environment}
        )
    try:
        yield process
    finally:
        _end(process, stop_timeout_s)


def _end(process: subprocess.Popen[bytes], stop_timeout_s: float) -> None:
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(stop_timeout_s)
    process.kill()  # does nothing to one that has ended
    process.wait()
    for child in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()  # psutil refuses a pid that was given to somebody else since
