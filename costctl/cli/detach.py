"""Start the daemon in the background, for boxes without systemd."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from costctl.cli.own_daemon import start_daemon, wait_until_open

if TYPE_CHECKING:
    from costctl.config.home import Home


def start_in_background(home: Home) -> None:
    """Start `costctl serve` as it was called, in a session of its own, and wait until its front door is open.

    Raises:
        CostctlError: it ended before that; its last words are in the message.
    """
    daemon = start_daemon(home, [argument for argument in sys.argv[1:] if argument != "--detach"])
    where = wait_until_open(daemon, home)["url"] or home.control_socket
    click.echo(f"costctl runs in the background (process {daemon.pid}) at {where}; end it with `costctl stop`")
