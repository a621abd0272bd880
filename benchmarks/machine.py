"""What the numbers were taken on: they mean little without it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def facts(packages: Iterable[str], programs: Iterable[Sequence[str]] = ()) -> dict[str, str]:
    """Name the processor, the load by others, and the versions of all that took part.

    Args:
        packages: Python packages.
        programs: commands that say a program's version.
    """
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "load average before": load,
        "Python": f"{platform.python_version()}, " + ", ".join(_packages(packages)),
        "others": ", ".join(_programs(programs)),
    }


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _packages(names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _programs(commands: Iterable[Sequence[str]]) -> list[str]:
    """Ask the installed programs for their versions; each says it in its own way."""
    found = []
    for command in commands:
        environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, env=environment)
        except OSError:
            continue
        number = re.search(r"\d+\.\d+[\w.]*", done.stdout + done.stderr)
        found.append(f"{command[0]} {number[0] if number else '?'}")
    return found
