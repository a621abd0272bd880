"""One daemon per home, and who holds what."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import psutil

from costctl.errors import CostctlError, DaemonRunningError

if TYPE_CHECKING:
    from pathlib import Path


class HomeLock:
    """The right to be a home's daemon, held until the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            DaemonRunningError: another daemon has it.
            CostctlError: the folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            words = f"cannot write to {self._path.parent}: {error.strerror}"
            raise CostctlError(f"{words}; set COSTCTL_HOME to a folder that can be written") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "?"
            os.close(fd)
            raise DaemonRunningError(
                f"a costctl daemon (process {holder}) already runs in {self._path.parent}: "
                "see `costctl status`, or give this one another home with COSTCTL_HOME"
            ) from None
        self._fd = fd
        self._sign()

    def release(self) -> None:
        """Let another daemon in."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _sign(self) -> None:
        assert self._fd is not None  # noqa: S101 - called by take only
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise CostctlError(f"cannot write to {self._path.parent}: {error.strerror}") from error


def port_owner(port: int) -> str:
    """Return in words who listens on a TCP port here."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port:
                return _name(connection.pid)
    except psutil.Error:
        pass
    return "another program"


def _name(pid: int | None) -> str:
    if pid is None:
        return "another user's program"
    try:
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"process {pid}"
