"""What a GPU says of itself, and what other programs do on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuProcess:
    """One process on a GPU; None where the driver does not say."""

    pid: int
    memory_bytes: int | None = None
    sm_percent: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuReading:
    """One GPU at one moment."""

    index: int
    name: str
    memory_used_bytes: int
    memory_total_bytes: int
    utilisation_percent: int | None = None
    power_milliwatts: int | None = None
    compute_capability: tuple[int, int] | None = None
    processes: tuple[GpuProcess, ...] = ()


def busy_strangers(readings: tuple[GpuReading, ...], ours: frozenset[int]) -> tuple[GpuProcess, ...]:
    """Return the processes that are not `ours` and compute on any GPU right now."""
    return tuple(
        process for gpu in readings for process in gpu.processes if process.pid not in ours and process.sm_percent
    )


def memory_still_held(
    before: tuple[GpuReading, ...], after: tuple[GpuReading, ...], *, ours: frozenset[int], slack_bytes: int
) -> int:
    """Return the bytes of VRAM that a stopped engine has not given back, 0 if all is back to its baseline.

    What processes other than `ours` took or gave back meanwhile, as far as the driver names them, does not count.
    """
    baseline = {gpu.index: _unnamed_memory(gpu) for gpu in before}
    held = 0
    for gpu in after:
        if any(process.pid in ours for process in gpu.processes):
            held += sum(process.memory_bytes or 1 for process in gpu.processes if process.pid in ours)
            continue
        growth = _unnamed_memory(gpu) - baseline.get(gpu.index, 0)
        if growth > slack_bytes:
            held += growth
    return held


def _unnamed_memory(gpu: GpuReading) -> int:
    return gpu.memory_used_bytes - sum(process.memory_bytes or 0 for process in gpu.processes)
