"""Plain requests by `wrk`: as many as go through in a given time, on a given number of keep-alive connections."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("chat.lua")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """What one run of wrk saw; latencies are of whole requests."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


def plain(port: int, *, connections: int, seconds: int) -> Plain:
    """Load a port of this machine for some seconds.

    Raises:
        RuntimeError: wrk failed, or any answer was not a 200.
    """
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(SCRIPT), url]
    output = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout
    found = re.search(r"^result (.*)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk said nothing that could be read:\n{output}")
    seen = json.loads(found[1])
    if seen["failed"] or not seen["requests"]:
        raise RuntimeError(f"{seen['failed']} of {seen['requests']} requests failed:\n{output}")
    return Plain(
        requests=seen["requests"],
        per_second=seen["requests"] / seen["duration_us"] * 1e6,
        p50_ms=seen["p50_us"] / 1000,
        p99_ms=seen["p99_us"] / 1000,
    )
