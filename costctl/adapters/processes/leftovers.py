"""End what an engine of an earlier daemon has left behind, should even its keeper have been killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TICKS_FIELD = 19
_GROUP_FIELD = 2
_SESSION_FIELD = 3


def end_leftovers(record: Path, *, timeout_s: float = 15.0) -> tuple[int, ...]:
    """Kill what is left of the engine that `record` names, wait for it, and return the processes that were killed.

    Blocking. A number that has been given to another program since is told apart by boot and start time.
    """
    named = _read(record)
    if named is None:
        return ()
    leader, started = named
    killed: dict[int, psutil.Process] = {}
    deadline = time.monotonic() + timeout_s
    while members := [process for process in _members(leader, started) if process.is_running()]:
        for process in members:
            killed[process.pid] = process
            _kill(process)
        psutil.wait_procs(members, timeout=0.2)
        if time.monotonic() > deadline:
            return tuple(killed)  # the record stays: the next start tries again
    record.unlink(missing_ok=True)
    return tuple(killed)


def _read(record: Path) -> tuple[int, int] | None:
    try:
        pid, ticks, boot = record.read_text().split()
        return (int(pid), int(ticks)) if boot == _BOOT_ID.read_text().strip() else None
    except (OSError, ValueError):
        return None


def _members(leader: int, started: int) -> Iterable[psutil.Process]:
    """Yield the living processes of the leader's group or session, none if its number has a new owner."""
    if (ticks := _fields(leader)) is not None and int(ticks[_START_TICKS_FIELD]) != started:
        return
    for pid in psutil.pids():
        fields = _fields(pid)
        if fields is None or fields[0] in "ZX" or int(fields[_START_TICKS_FIELD]) < started:
            continue
        if leader in (int(fields[_GROUP_FIELD]), int(fields[_SESSION_FIELD])):
            try:
                yield psutil.Process(pid)
            except psutil.NoSuchProcess:
                continue


def _fields(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
