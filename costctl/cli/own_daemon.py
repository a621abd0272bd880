"""A daemon of one's own: for a batch where none runs, and for `costctl serve --detach`."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from costctl.cli.client import ask
from costctl.errors import CostctlError, DaemonError, DaemonRunningError, EngineStartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costctl.config.home import Home

_OPEN_WITHIN_S = 300.0
"""A large ledger that has to be migrated first takes its time."""
_END_WITHIN_S = 600.0
_LOOK_EVERY_S = 0.1
_LOG_NAME = "detached.log"


def start_daemon(home: Home, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start `costctl` with `arguments` in a session of its own, which no Ctrl-C reaches. Raises CostctlError."""
    try:
        home.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (home.logs / _LOG_NAME).open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "costctl", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise CostctlError(f"cannot start a daemon: {error.filename}: {error.strerror}") from error


def wait_until_open(daemon: subprocess.Popen[bytes], home: Home) -> dict[str, Any]:
    """Return the daemon's status once its front door is open.

    Raises:
        DaemonRunningError: there is another.
        CostctlError: it ended before that; its last words are in the message.
    """
    deadline = time.monotonic() + _OPEN_WITHIN_S
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            kind = DaemonRunningError if daemon.returncode == DaemonRunningError.exit_code else CostctlError
            raise kind(f"the daemon did not start: {_last_words(daemon, home)}")
        status = _read_status()
        if status is not None and int(status["pid"]) == daemon.pid:
            return status
        time.sleep(_LOOK_EVERY_S)
    raise CostctlError(f"the daemon (process {daemon.pid}) has not opened its front door after {_OPEN_WITHIN_S:.0f} s")


class OwnDaemon:
    """A daemon that was started for one purpose."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._is_left_alone = False

    def leave_alone(self) -> None:
        """Do not stop it at the end: it is about to stop the machine, and itself."""
        self._is_left_alone = True

    def stop(self) -> None:
        """Stop it and wait until it has ended, unless others have work for it by now. Raises DaemonError."""
        if self._is_left_alone or _has_work():
            return  # it ends by itself when it is idle
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise DaemonError(
                f"the daemon (process {self._process.pid}) is still stopping: see `costctl status`"
            ) from None


@contextmanager
def own_daemon(home: Home, arguments: Sequence[str]) -> Iterator[OwnDaemon | None]:
    """Have a daemon for a while: one of one's own, or (None) another that was about to open.

    Raises:
        EngineStartError: there is none; says why.
    """
    daemon = _first_to_open(home, ["serve", *arguments])
    try:
        yield daemon
    finally:
        if daemon is not None:
            daemon.stop()


def _first_to_open(home: Home, arguments: Sequence[str]) -> OwnDaemon | None:
    """Start a daemon, after one that is about to end if need be; return None if another opens first."""
    deadline = time.monotonic() + _OPEN_WITHIN_S
    while True:
        try:
            return _opened(home, arguments)
        except DaemonRunningError as error:
            if _read_status() is not None:
                return None
            if time.monotonic() > deadline:
                raise EngineStartError(str(error)) from error
        except CostctlError as error:
            raise EngineStartError(str(error)) from error


def _opened(home: Home, arguments: Sequence[str]) -> OwnDaemon:
    daemon = OwnDaemon(process := start_daemon(home, arguments))
    try:
        wait_until_open(process, home)
    except BaseException:
        daemon.stop()
        raise
    return daemon


def _has_work() -> bool:
    status = _read_status()
    return status is not None and bool(status["batches"] or status["engine"]["in_flight"])


def _read_status() -> dict[str, Any] | None:
    try:
        status: dict[str, Any] = ask("GET", "/status")
    except DaemonError:
        return None
    return status


def _last_words(daemon: subprocess.Popen[bytes], home: Home) -> str:
    log = home.logs / _LOG_NAME
    words = log.read_text(errors="replace").strip().splitlines()
    if not words:
        return f"exit code {daemon.returncode}, and nothing in {log}: is the disk full?"
    return words[-1].removeprefix("costctl: ")
