"""`costctl logs`."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, TextIO

import click

from costctl.cli.client import home
from costctl.errors import CostctlError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOOK_EVERY_S = 0.3


@click.command(epilog="\b\nExamples:\n  costctl logs -f\n  costctl logs --daemon -n 50")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed from now on.")
@click.option("-n", "--lines", default=100, show_default=True, metavar="N", help="Begin with the last N lines.")
@click.option("--daemon", is_flag=True, help="What the daemon said, not the engine.")
def logs(*, follow: bool, lines: int, daemon: bool) -> None:
    """Show what the engine printed, over all its lives (the newest files; older ones stand beside them)."""
    path = home().daemon_log if daemon else home().engine_log
    if not path.exists() and not follow:
        raise CostctlError(f"there is no log {path} yet")
    try:
        for line in _read(path, lines, follow=follow):
            click.echo(line, nl=False)
    except KeyboardInterrupt:
        raise click.Abort from None


def _read(path: Path, last: int, *, follow: bool) -> Iterator[str]:
    while follow and not path.exists():
        time.sleep(_LOOK_EVERY_S)
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from deque(file, maxlen=max(0, last))
        if not follow:
            return
        current: TextIO = file
        while True:
            yield from current
            if _rotated(path, current):
                current = path.open(encoding="utf-8", errors="replace")
                continue
            time.sleep(_LOOK_EVERY_S)


def _rotated(path: Path, file: TextIO) -> bool:
    try:
        return path.stat().st_ino != os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
