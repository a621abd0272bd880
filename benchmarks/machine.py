"""What the numbers were taken on: they mean little without it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def facts() -> dict[str, str]:
    """Name the processor, the load by others, and the versions of all that took part."""
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "load average before": load,
        "Python": f"{platform.python_version()}, " + ", ".join(_packages("aiohttp", "uvloop", "costctl")),
        "others": ", ".join(_programs()),
    }


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _packages(*names: str) -> list[str]:
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def _programs() -> list[str]:
    """Ask the installed programs for their versions; each says it in its own way."""
    found = []
    for command in (["nginx", "-v"], ["haproxy", "-v"], ["wrk", "-v"]):
        environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, env=environment)
        except OSError:
            continue
        number = re.search(r"\d+\.\d+[\w.]*", done.stdout + done.stderr)
        found.append(f"{command[0]} {number[0] if number else '?'}")
    return found
