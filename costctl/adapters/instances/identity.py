"""Which machine this is, and when its billing started."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from costctl.domain.sessions import Instance

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TICKS_FIELD = 19


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerOn:
    """One power-on of the machine: a key that no other power-on has, and when it began."""

    key: str
    started_at: datetime


def read_instance(identity_file: Path, *, gpu: str | None, gpu_count: int) -> Instance:
    """Return what this machine knows of itself, named by an identity kept in `identity_file`.

    A host name would not do: a re-created container has a new one and would never close its predecessor's session.
    """
    try:
        machine = identity_file.read_text().strip()
    except FileNotFoundError:
        machine = f"m-{uuid.uuid4().hex[:12]}"
        identity_file.write_text(f"{machine}\n")
    return Instance(machine=machine, gpu=gpu, gpu_count=gpu_count)


def read_power_on(now: datetime) -> PowerOn:
    """Return this power-on: the start of process 1, which is the machine's boot, or the container's start inside one.

    Both kinds of rented box are billed from that moment, so no guess whether this is a container is needed.
    """
    started = now - _age_of_process_1()
    ticks = _start_ticks_of_process_1()
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = f"boot-{int(psutil.boot_time())}"
    return PowerOn(key=f"{boot}/{ticks}", started_at=min(started, now))


def _age_of_process_1() -> timedelta:
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    since_boot_s = float(Path("/proc/uptime").read_text().split()[0])
    return timedelta(seconds=max(0.0, since_boot_s - _start_ticks_of_process_1() / ticks_per_s))


def _start_ticks_of_process_1() -> int:
    try:
        return int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[_START_TICKS_FIELD])
    except (OSError, ValueError, IndexError):
        return 0  # hidden from us (hidepid): the boot is the best that can be known
