"""A simulated GPU: simulated engines claim its memory, and a claim ends with its process, as with a real driver."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psutil

from costctl.domain.gpus import GpuProcess, GpuReading

if TYPE_CHECKING:
    from pathlib import Path

FOLDER_VARIABLE = "COSTCTL_SIM_GPU"
"""Tells simulated engines where to leave their claims."""
_GIB = 2**30
# Name, memory and the power an idle and a busy card draws: close enough to look real, and called simulated.
_KINDS = {"T4": 16, "L4": 24, "A10G": 24, "A100": 40, "H100": 80}
_IDLE_WATTS = 20
_BUSY_WATTS = 150


class SimulatedGpus:
    """One simulated GPU whose claims lie in `folder` (port Gpus)."""

    def __init__(self, folder: Path, kind: str = "A10G") -> None:
        self.folder = folder
        self._name = f"NVIDIA {kind} (simulated)"
        self._total_bytes = _KINDS.get(kind, 24) * _GIB

    def read(self) -> tuple[GpuReading, ...]:
        """Return the GPU's state as the living processes claim it."""
        processes = tuple(claim for path in sorted(self.folder.glob("*.json")) if (claim := _claim(path)))
        busy = min(100, sum(process.sm_percent or 0 for process in processes))
        return (
            GpuReading(
                index=0,
                name=self._name,
                memory_used_bytes=sum(process.memory_bytes or 0 for process in processes),
                memory_total_bytes=self._total_bytes,
                utilisation_percent=busy,
                power_milliwatts=1000 * (_IDLE_WATTS + (_BUSY_WATTS - _IDLE_WATTS) * busy // 100),
                processes=processes,
            ),
        )

    def release(self) -> None:
        """Nothing is held."""


def _claim(path: Path) -> GpuProcess | None:
    try:
        content = json.loads(path.read_text())
        pid, memory, busy = (int(content[key]) for key in ("pid", "memory_bytes", "sm_percent"))
        alive = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        path.unlink(missing_ok=True)
        return None
    except (OSError, ValueError, TypeError, KeyError):
        return None  # half-written or just removed
    return GpuProcess(pid=pid, memory_bytes=memory, sm_percent=busy) if alive else None


class NoGpus:
    """A machine whose GPUs are not watched (port Gpus)."""

    def read(self) -> tuple[GpuReading, ...]:
        """Return no GPU."""
        return ()

    def release(self) -> None:
        """Nothing is held."""
