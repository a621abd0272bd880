"""NVIDIA GPUs through NVML."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pynvml

from costctl.domain.gpus import GpuProcess, GpuReading
from costctl.errors import GpuError

_SAMPLES_BACK_US = 10_000_000
_MISSING = (
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NO_DATA,
)


class NvmlGpus:
    """Reads all GPUs (port Gpus)."""

    def __init__(self) -> None:
        self._held = False
        self._one_at_a_time = threading.Lock()

    def read(self) -> tuple[GpuReading, ...]:
        """Return every GPU's state; blocking.

        Raises:
            GpuError: there is no driver, or it does not answer.
        """
        with self._one_at_a_time:
            try:
                self._hold()
                return tuple(_read_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
            except pynvml.NVMLError as error:
                # A driver that was reloaded or lost half-way is found again only by a fresh start of the library.
                self._let_go()
                raise GpuError(f"NVML: {error}") from error

    def release(self) -> None:
        """Unload the library: as long as it is loaded, the card's driver state is kept alive."""
        with self._one_at_a_time:
            self._let_go()

    def _let_go(self) -> None:
        if self._held:
            self._held = False
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def _hold(self) -> None:
        if not self._held:
            pynvml.nvmlInit()
            self._held = True


def _read_gpu(index: int) -> GpuReading:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    utilisation = _optional(pynvml.nvmlDeviceGetUtilizationRates, handle)
    return GpuReading(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_used_bytes=_used_bytes(handle, memory),
        memory_total_bytes=int(memory.total),
        utilisation_percent=None if utilisation is None else int(utilisation.gpu),
        power_milliwatts=_optional(pynvml.nvmlDeviceGetPowerUsage, handle),
        compute_capability=_optional(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
        processes=_processes(handle),
    )


def _used_bytes(handle: Any, memory: Any) -> int:
    """Return the memory in use without the driver's own reserve, as nvidia-smi counts it."""
    with suppress(pynvml.NVMLError, AttributeError):
        return int(pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).used)
    return int(memory.used)


def _processes(handle: Any) -> tuple[GpuProcess, ...]:
    memory = {process.pid: process.usedGpuMemory for process in _optional(_compute_processes, handle) or ()}
    busy = _busy_percent(handle)
    return tuple(
        GpuProcess(pid=pid, memory_bytes=memory.get(pid), sm_percent=busy.get(pid))
        for pid in memory.keys() | busy.keys()
    )


def _compute_processes(handle: Any) -> Any:
    return pynvml.nvmlDeviceGetComputeRunningProcesses(handle)


def _busy_percent(handle: Any) -> dict[int, int]:
    """Return each process's highest share of the multiprocessors in the last seconds."""
    newest = _newest_sample_us(handle)
    samples = _optional(pynvml.nvmlDeviceGetProcessUtilization, handle, max(0, newest - _SAMPLES_BACK_US)) or ()
    busy: dict[int, int] = {}
    for sample in samples:
        if sample.timeStamp + _SAMPLES_BACK_US >= newest:
            busy[sample.pid] = max(busy.get(sample.pid, 0), min(100, sample.smUtil))
    return busy


def _newest_sample_us(handle: Any) -> int:
    samples = _optional(pynvml.nvmlDeviceGetProcessUtilization, handle, 0) or ()
    return max((sample.timeStamp for sample in samples), default=0)


def _optional(query: Any, *arguments: Any) -> Any:
    """Return what the driver says, or None where this GPU does not tell."""
    try:
        return query(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _MISSING:
            return None
        raise
