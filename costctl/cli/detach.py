"""Start the daemon in the background, for boxes without systemd."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click

from costctl.cli.client import ask
from costctl.errors import CostctlError, DaemonError

if TYPE_CHECKING:
    from costctl.config.home import Home

_OPEN_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.1


def start_in_background(home: Home) -> None:
    """Start `costctl serve` as it was called, in a session of its own, and wait until its front door is open.

    Raises:
        CostctlError: it ended before that; its last words are in the message.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
    try:
        home.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (home.logs / "detached.log").open("wb") as output:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "costctl", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise CostctlError(f"cannot start in the background: {error}") from error
    status = _wait_until_open(daemon, home)
    click.echo(f"costctl runs in the background (process {daemon.pid}) at {status['url']}; end it with `costctl stop`")


def _wait_until_open(daemon: subprocess.Popen[bytes], home: Home) -> dict[str, str]:
    deadline = time.monotonic() + _OPEN_WITHIN_S
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            words = (home.logs / "detached.log").read_text(errors="replace").strip().splitlines()
            last = words[-1].removeprefix("costctl: ") if words else f"exit code {daemon.returncode}"
            raise CostctlError(f"the daemon did not start: {last}")
        try:
            status: dict[str, str] = ask("GET", "/status")
        except DaemonError:
            time.sleep(_LOOK_EVERY_S)
            continue
        if int(status["pid"]) == daemon.pid:
            return status
        time.sleep(_LOOK_EVERY_S)
    raise CostctlError(f"the daemon (process {daemon.pid}) has not opened its front door after {_OPEN_WITHIN_S:.0f} s")
