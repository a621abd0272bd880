"""NVIDIA GPUs through NVML."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pynvml

from costctl.domain.gpus import GpuProcess, GpuReading
from costctl.errors import GpuError

if TYPE_CHECKING:
    from collections.abc import Callable

_SAMPLES_BACK_US = 10_000_000
_SAMPLES_STALE_AFTER_S = 30.0
_MISSING = (
    pynvml.NVML_ERROR_NOT_FOUND,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_NO_DATA,
)


class NvmlGpus:
    """Reads all GPUs (port Gpus) through `library`, which is pynvml."""

    def __init__(self, library: Any = pynvml, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._nvml = library
        self._monotonic = monotonic
        self._newest: dict[int, tuple[int, float]] = {}
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
                return tuple(self._read_gpu(index) for index in range(self._nvml.nvmlDeviceGetCount()))
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
                self._nvml.nvmlShutdown()

    def _hold(self) -> None:
        if not self._held:
            self._nvml.nvmlInit()
            self._held = True

    def _read_gpu(self, index: int) -> GpuReading:
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        utilisation = _optional(nvml.nvmlDeviceGetUtilizationRates, handle)
        return GpuReading(
            index=index,
            name=str(nvml.nvmlDeviceGetName(handle)),
            memory_used_bytes=self._used_bytes(handle, memory),
            memory_total_bytes=int(memory.total),
            utilisation_percent=None if utilisation is None else int(utilisation.gpu),
            power_milliwatts=_optional(nvml.nvmlDeviceGetPowerUsage, handle),
            compute_capability=_optional(nvml.nvmlDeviceGetCudaComputeCapability, handle),
            processes=self._processes(index, handle),
        )

    def _used_bytes(self, handle: Any, memory: Any) -> int:
        """Return the memory in use without the driver's own reserve, as nvidia-smi counts it."""
        with suppress(pynvml.NVMLError, AttributeError):
            return int(self._nvml.nvmlDeviceGetMemoryInfo(handle, version=self._nvml.nvmlMemory_v2).used)
        return int(memory.used)

    def _processes(self, index: int, handle: Any) -> tuple[GpuProcess, ...]:
        running = _optional(self._nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
        memory = {process.pid: process.usedGpuMemory for process in running}
        busy = self._busy_percent(index, handle)
        return tuple(
            GpuProcess(pid=pid, memory_bytes=memory.get(pid), sm_percent=busy.get(pid))
            for pid in sorted(memory.keys() | busy.keys())
        )

    def _busy_percent(self, index: int, handle: Any) -> dict[int, int]:
        """Return each process's highest share of the multiprocessors in the last seconds."""
        samples = self._samples(handle, since_us=0)
        newest = max((sample.timeStamp for sample in samples), default=0)
        if self._stale(index, newest):
            return {}
        busy: dict[int, int] = {}
        for sample in self._samples(handle, since_us=max(0, newest - _SAMPLES_BACK_US)):
            if sample.timeStamp + _SAMPLES_BACK_US >= newest:
                busy[sample.pid] = max(busy.get(sample.pid, 0), min(100, sample.smUtil))
        return busy

    def _stale(self, index: int, newest: int) -> bool:
        """Return whether no sample has come for a while: the last ones stay readable when nobody computes any more.

        Told by our own clock, so that it does not matter which clock stamps the samples.
        """
        now = self._monotonic()
        stamp, since = self._newest.get(index, (None, now))
        if stamp != newest:
            self._newest[index] = (newest, now)
            return False
        return now - since > _SAMPLES_STALE_AFTER_S

    def _samples(self, handle: Any, *, since_us: int) -> Any:
        return _optional(self._nvml.nvmlDeviceGetProcessUtilization, handle, since_us) or ()


def _optional(query: Any, *arguments: Any) -> Any:
    """Return what the driver says, or None where this GPU does not tell."""
    try:
        return query(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _MISSING:
            return None
        raise
