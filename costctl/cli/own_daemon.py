"""A daemon of one's own: for a batch where none runs, and for `costctl serve --detach`."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from costctl.cli.client import ask
from costctl.errors import CostctlError, DaemonError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costctl.config.home import Home

_OPEN_WITHIN_S = 60.0
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
        raise CostctlError(f"cannot start in the background: {error}") from error


def wait_until_open(daemon: subprocess.Popen[bytes], home: Home) -> dict[str, Any]:
    """Return the daemon's status once its front door is open.

    Raises:
        CostctlError: it ended before that; its last words are in the message.
    """
    deadline = time.monotonic() + _OPEN_WITHIN_S
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            raise CostctlError(f"the daemon did not start: {_last_words(daemon, home)}")
        try:
            status: dict[str, Any] = ask("GET", "/status")
        except DaemonError:
            time.sleep(_LOOK_EVERY_S)
            continue
        if int(status["pid"]) == daemon.pid:
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
        """Stop it and wait until it has ended. Raises DaemonError."""
        if self._is_left_alone:
            return
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise DaemonError(
                f"the daemon (process {self._process.pid}) is still stopping: see `costctl status`"
            ) from None


@contextmanager
def own_daemon(home: Home, arguments: Sequence[str]) -> Iterator[OwnDaemon]:
    """Have a daemon of one's own for a while. Raises CostctlError."""
    process = start_daemon(home, ["serve", *arguments])
    daemon = OwnDaemon(process)
    try:
        wait_until_open(process, home)
        yield daemon
    finally:
        daemon.stop()


def _last_words(daemon: subprocess.Popen[bytes], home: Home) -> str:
    words = (home.logs / _LOG_NAME).read_text(errors="replace").strip().splitlines()
    return words[-1].removeprefix("costctl: ") if words else f"exit code {daemon.returncode}"
