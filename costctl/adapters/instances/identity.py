"""Which machine this is, and when its billing started."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from costctl.domain.sessions import Instance
from costctl.errors import CostctlError

_START_TICKS_FIELD = 19


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerOn:
    """One power-on of the machine: a key that no other power-on has, and when it began."""

    key: str
    started_at: datetime


def read_instance(identity_file: Path, *, gpu: str | None, gpu_count: int) -> Instance:
    """Return what this machine knows of itself, named by an identity kept in `identity_file`.

    A host name would not do: a re-created container has a new one and would never close its predecessor's session.

    Raises:
        CostctlError: the identity can neither be read nor made.
    """
    return Instance(machine=_known(identity_file) or _make(identity_file), gpu=gpu, gpu_count=gpu_count)


def _known(identity_file: Path) -> str:
    try:
        return identity_file.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CostctlError(f"cannot read this machine's name in {identity_file}: {error}") from error


def _make(identity_file: Path) -> str:
    machine = f"m-{uuid.uuid4().hex[:12]}"
    try:
        identity_file.write_text(f"{machine}\n")
    except OSError as error:
        raise CostctlError(f"cannot write this machine's name to {identity_file}: {error.strerror}") from error
    return machine


def read_power_on(now: datetime, *, proc: Path = Path("/proc"), since_boot_s: float | None = None) -> PowerOn:
    """Return this power-on: the start of process 1, which is the machine's boot, or the container's start inside one.

    Both kinds of rented box are billed from that moment, so no guess whether this is a container is needed. `proc` and
    `since_boot_s`, the age of the machine, are this machine's unless given.
    """
    if since_boot_s is None:
        # Not /proc/uptime: some containers show their own there, while process 1 is timed by the machine's.
        since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks = _start_ticks_of_process_1(proc)
    age_s = max(0.0, since_boot_s - ticks / os.sysconf("SC_CLK_TCK"))
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = f"boot-{round(now.timestamp() - since_boot_s)}"
    return PowerOn(key=f"{boot}/{ticks}", started_at=now - timedelta(seconds=age_s))


def _start_ticks_of_process_1(proc: Path) -> int:
    try:
        return int((proc / "1/stat").read_text().rpartition(")")[2].split()[_START_TICKS_FIELD])
    except (OSError, ValueError, IndexError):
        return 0  # hidden from us (hidepid): the boot is the best that can be known
