"""`costctl stop`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from costctl.cli.client import ask
from costctl.errors import DaemonError

_LOOK_EVERY_S = 0.1


@click.command(epilog="\b\nExamples:\n  costctl stop\n  costctl stop --engine      # frees the GPU, the daemon stays")
@click.option("--engine", is_flag=True, help="Stop only the engine; the next request starts it again.")
@click.option("--timeout", default=600, show_default=True, metavar="SECONDS", help="How long to wait for the end.")
def stop(*, engine: bool, timeout: int) -> None:
    """Stop the daemon: requests under way may finish, the engine ends, the session is closed.

    This machine is not powered off.
    """
    if engine:
        state = ask("POST", "/stop-engine", timeout_s=float(timeout))["engine"]
        click.echo(f"the engine is {state}")
        return
    pid = ask("POST", "/stop")["pid"]
    deadline = time.monotonic() + timeout
    while _lives(pid):
        if time.monotonic() > deadline:
            raise DaemonError(f"the daemon (process {pid}) is still stopping after {timeout} s: see `costctl status`")
        time.sleep(_LOOK_EVERY_S)
    click.echo("the daemon has ended; this machine is still on")


def _lives(pid: int) -> bool:
    """Return whether the process runs; one that has ended but that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
