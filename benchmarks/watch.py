"""What goes on while a program runs: CPU of some processes, use and power of the GPUs, and words in its log."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import psutil
from processes import cpu_seconds

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from costctl.ports import Gpus

SAMPLE_EVERY_S = 0.2
_LOOK_EVERY_S = 0.02
_LOOK_BELOW_EVERY_S = 1.0
_TAIL_LINES = 15


class FailedError(Exception):
    """A part could not be measured; says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A moment: CPU seconds used so far by process, mean use of the GPUs and their power together."""

    at: float
    cpu: Mapping[str, float]
    gpu_percent: float | None
    watts: float | None


class Watch:
    """Takes samples in a thread of its own; `pids` names the processes to watch and may change at any time."""

    def __init__(self, gpus: Gpus | None) -> None:
        self.pids: dict[str, int] = {}
        self._gpus = gpus
        self._samples: list[Sample] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._samples.append(self._sample())
            time.sleep(SAMPLE_EVERY_S)

    def _sample(self) -> Sample:
        cpu = {}
        for name, pid in list(self.pids.items()):
            with contextlib.suppress(ProcessLookupError):
                cpu[name] = cpu_seconds(pid)
        percent, watts = self._gpu()
        return Sample(at=time.monotonic(), cpu=cpu, gpu_percent=percent, watts=watts)

    def _gpu(self) -> tuple[float | None, float | None]:
        readings = self._gpus.read() if self._gpus else ()
        percents = [reading.utilisation_percent for reading in readings if reading.utilisation_percent is not None]
        powers = [reading.power_milliwatts for reading in readings if reading.power_milliwatts is not None]
        return fmean(percents) if percents else None, sum(powers) / 1000 if powers else None

    def between(self, began: float, ended: float) -> Seen:
        """Return what was seen between two moments of the monotonic clock."""
        samples = [sample for sample in list(self._samples) if began <= sample.at <= ended]
        return Seen(
            cpu_s=_cpu_used(samples, ended - began),
            gpu_percent=_mean([each.gpu_percent for each in samples if each.gpu_percent is not None]),
            watts=_mean([each.watts for each in samples if each.watts is not None]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What was used over a stretch of time."""

    cpu_s: dict[str, float]
    gpu_percent: float | None
    watts: float | None


def _cpu_used(samples: Sequence[Sample], seconds: float) -> dict[str, float]:
    """Return CPU seconds by process, brought from the samples' stretch to the whole one."""
    if len(samples) < 2:
        return {}
    first, last = samples[0], samples[-1]
    share = seconds / (last.at - first.at)
    return {name: (used - first.cpu[name]) * share for name, used in last.cpu.items() if name in first.cpu}


def _mean(numbers: Sequence[float]) -> float | None:
    return fmean(numbers) if numbers else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a program went: its end, the CPU seconds and peak memory of its own process, and when its log said what."""

    at: float
    cpu_s: float
    peak_mib: float
    said: Mapping[str, float]


def to_its_end(
    process: subprocess.Popen[bytes], *, log: Path, deadline: float, listen_for: Sequence[str] = ()
) -> Ended:
    """Wait for a program, noting when its log first holds each of the words to listen for.

    Raises:
        FailedError: it failed, or did not end in time; with the end of its log.
    """
    said: dict[str, float] = {}
    with _nothing_left_of(process.pid) as look_below:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            at = time.monotonic()
            text = log.read_text(errors="replace") if len(said) < len(listen_for) else ""
            said |= {words: at for words in listen_for if words not in said and words in text}
            if pid:
                break
            if at > deadline:
                raise FailedError(f"it was not done when the time was over\n{tail(log)}")
            look_below()
            time.sleep(_LOOK_EVERY_S)
    process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here, for its rusage
    if process.returncode:
        raise FailedError(f"it ended with code {process.returncode}\n{tail(log)}")
    return Ended(at=at, cpu_s=usage.ru_utime + usage.ru_stime, peak_mib=usage.ru_maxrss / 1024, said=said)


@contextlib.contextmanager
def _nothing_left_of(root: int) -> Iterator[Callable[[], None]]:
    """Remember what runs below a process, and end what outlives it: a crashed vLLM leaves its engine core computing."""
    below: set[psutil.Process] = set()
    looked_at = 0.0

    def look() -> None:
        nonlocal looked_at
        if time.monotonic() - looked_at >= _LOOK_BELOW_EVERY_S:
            with contextlib.suppress(psutil.NoSuchProcess):
                below.update(psutil.Process(root).children(recursive=True))
            looked_at = time.monotonic()

    try:
        yield look
    finally:
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()  # psutil refuses a pid that was given to somebody else since


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    if not log.exists():
        return ""
    return "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
