"""One door, one round: a flat set of named numbers."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING

import uvloop
from load import BadAnswerError, Streams, stream
from processes import Tree, cpu_between
from upstream import FINGERPRINT
from wrk import plain

if TYPE_CHECKING:
    import subprocess

CONNECTIONS = (1, 16, 64)
EVENTS = 200
INTERVAL_MS = 5
STREAM_CONNECTIONS = 16
STREAM_TIMEOUT_S = 60.0
MESSAGES = [{"role": "user", "content": "Say something about foxes and dogs."}]

Numbers = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How much work one round gives a door."""

    wrk_seconds: int
    streams: int


def body(*, interval_ms: int | None = None, streamed: bool = True) -> bytes:
    wanted: dict[str, object] = {"model": "bench", "messages": MESSAGES, "stream": streamed}
    if streamed:
        wanted["max_tokens"] = EVENTS
    if interval_ms is not None:
        wanted["interval_ms"] = interval_ms
    return json.dumps(wanted).encode()


BURST = body()
PACED = body(interval_ms=INTERVAL_MS)


def wait_until_it_answers(port: int, process: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    """Ask until a plain request is answered; returns the process id of the upstream that answered, if it came through.

    Raises:
        RuntimeError: the front door ended, or never answered with 200.
    """
    deadline = time.monotonic() + timeout_s
    last = "nothing"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with code {process.returncode}")
        try:
            return _upstream_pid(_ask(port, timeout_s))
        except (OSError, http.client.HTTPException, BadAnswerError) as exc:
            last = str(exc)
        time.sleep(0.1)
    raise RuntimeError(f"no answer within {timeout_s:.0f} s; the last one was: {last}")


def _ask(port: int, timeout_s: float) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body(streamed=False), headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise BadAnswerError(f"{answer.status} {content[:300].decode(errors='replace')}")
    return content


def _upstream_pid(content: bytes) -> int | None:
    fingerprint = str(json.loads(content).get("system_fingerprint") or "")
    return int(fingerprint.removeprefix(FINGERPRINT)) if fingerprint.startswith(FINGERPRINT) else None


def one_round(port: int, tree: Tree, sizes: Sizes) -> Numbers:
    """Measure a door once in every way.

    Raises:
        BadAnswerError, RuntimeError, TimeoutError: it answered wrongly or not at all.
        ProcessLookupError: it died.
    """
    numbers: Numbers = {}
    for connections in CONNECTIONS:
        numbers |= _plain(port, tree, connections, sizes.wrk_seconds)
    return numbers | _burst(port, tree, sizes.streams) | _paced(port, tree)


def _plain(port: int, tree: Tree, connections: int, seconds: int) -> Numbers:
    before = tree.cpu()
    seen = plain(port, connections=connections, seconds=seconds)
    used = cpu_between(before, tree.cpu())
    return {
        f"cpu_ms_per_request_{connections}": used / seen.requests * 1e3,
        f"requests_per_s_{connections}": seen.per_second,
        f"p50_ms_{connections}": seen.p50_ms,
        f"p99_ms_{connections}": seen.p99_ms,
    }


def _streams(port: int, request: bytes, count: int, *, timed: bool) -> Streams:
    return uvloop.run(
        stream(port, request, connections=STREAM_CONNECTIONS, count=count, timed=timed, timeout_s=STREAM_TIMEOUT_S)
    )


def _burst(port: int, tree: Tree, count: int) -> Numbers:
    before = tree.cpu()
    seen = _streams(port, BURST, count, timed=False)
    used = cpu_between(before, tree.cpu())
    return {"cpu_ms_per_stream": used / count * 1e3, "streams_per_s": count / seen.seconds}


def _paced(port: int, tree: Tree) -> Numbers:
    before = tree.cpu()
    delays = _streams(port, PACED, STREAM_CONNECTIONS, timed=True).delays_ns
    used = cpu_between(before, tree.cpu())
    expected = STREAM_CONNECTIONS * EVENTS
    if len(delays) != expected:
        raise BadAnswerError(f"{len(delays)} events arrived of {expected}")
    percentiles = quantiles(delays, n=100)
    return {
        "cpu_us_per_event": used / expected * 1e6,
        "delay_p50_us": percentiles[49] / 1e3,
        "delay_p99_us": percentiles[98] / 1e3,
    }
