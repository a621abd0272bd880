"""A lean stand-in for an OpenAI-compatible model server, so that a benchmark sees the front door and not the engine.

`POST /v1/chat/completions` answers about 1 KB of JSON, or with `"stream": true` one server-sent event per token, each
written with a system call of its own. The body steers it: `"max_tokens"` is the number of events, `"interval_ms"` the
pause between them (0: back to back). Every event carries the monotonic time of its writing as its content.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

CRLF2 = b"\r\n\r\n"
STAMP_DIGITS = 20
DEFAULT_EVENTS = 200
FINGERPRINT = "pid-"

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked")
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_EVENTS = re.compile(rb'"max_tokens"\s*:\s*(\d+)')
_INTERVAL = re.compile(rb'"interval_ms"\s*:\s*([\d.]+)')


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a request asked for: how many events (0: a plain answer), how many seconds apart."""

    events: int
    interval_s: float


@functools.lru_cache(maxsize=64)
def plan_of(body: bytes) -> Plan:
    """Read the knobs out of a request's body; cached, since a benchmark repeats itself."""
    if _STREAM.search(body) is None:
        return Plan(events=0, interval_s=0.0)
    events = _EVENTS.search(body)
    interval = _INTERVAL.search(body)
    return Plan(
        events=int(events[1]) if events else DEFAULT_EVENTS,
        interval_s=float(interval[1]) / 1000 if interval else 0.0,
    )


def _response(payload: object, status: str = "200 OK") -> bytes:
    body = json.dumps(payload).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _completion() -> dict[str, object]:
    message = {"role": "assistant", "content": "The quick brown fox jumps over the lazy dog. " * 14}
    return {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "bench",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 16, "completion_tokens": 140, "total_tokens": 156},
        "system_fingerprint": f"{FINGERPRINT}{os.getpid()}",  # who answered: its CPU time is not the front door's
    }


def _event(finish_reason: str | None) -> bytes:
    stamp = "0" * STAMP_DIGITS
    choice = {"index": 0, "delta": {"content": stamp}, "logprobs": None, "finish_reason": finish_reason}
    event = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "bench",
        "choices": [choice],
    }
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


PLAIN = _response(_completion())
MODELS = _response({"object": "list", "data": [{"id": "bench", "object": "model", "owned_by": "costctl"}]})
HEALTHY = _response({})
NOT_FOUND = _response({"error": {"message": "no such route", "type": "NotFoundError", "code": 404}}, "404 Not Found")
BAD_REQUEST = _response({"error": {"message": "bad request", "type": "BadRequestError"}}, "400 Bad Request")
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM_TAIL = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
EVENT_BEFORE, EVENT_AFTER = _chunk(_event(None)).split(b"0" * STAMP_DIGITS)
LAST_BEFORE, LAST_AFTER = _chunk(_event("stop")).split(b"0" * STAMP_DIGITS)
GETS = {b"/health": HEALTHY, b"/v1/models": MODELS}


class Upstream(asyncio.Protocol):
    """One connection: requests answered in order, from bytes built beforehand."""

    __slots__ = ("_buffer", "_can_write", "_due", "_interval_s", "_left", "_loop", "_timer", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._left = 0  # events of the running stream still to write
        self._due = 0.0
        self._interval_s = 0.0
        self._can_write = True
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not instances of it

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        if self._left and self._timer is None:
            self._write_event()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        self._serve()

    def _serve(self) -> None:
        while self._buffer and not self._left:
            request = self._take_request()
            if request is None:
                return
            self._answer(*request)

    def _take_request(self) -> tuple[bytes, bytes] | None:
        """Cut one whole request off the buffer: its request line and its body."""
        end = self._buffer.find(CRLF2)
        if end < 0:
            return None
        head = self._buffer[:end].lower()
        start = end + 4
        stop = self._body_end(head, start)
        if stop is None or len(self._buffer) < stop:
            return None
        body = self._buffer[start:stop]
        self._buffer = self._buffer[stop:]
        return head.split(b"\r\n", 1)[0], body

    def _body_end(self, head: bytes, start: int) -> int | None:
        if length := _LENGTH.search(head):
            return start + int(length[1])
        if _CHUNKED.search(head):
            # JSON holds no raw line ends, so the last chunk cannot be mistaken for data.
            end = self._buffer.find(b"\r\n0\r\n\r\n", start)
            return None if end < 0 else end + 7
        return start

    def _answer(self, request_line: bytes, body: bytes) -> None:
        assert self._transport is not None
        match request_line.split(b" "):
            case [b"post", target, _] if target.partition(b"?")[0] == b"/v1/chat/completions":
                self._complete(plan_of(body))
            case [b"get", target, _]:
                self._transport.write(GETS.get(target.partition(b"?")[0], NOT_FOUND))
            case [_, _, _]:
                self._transport.write(NOT_FOUND)
            case _:
                self._transport.write(BAD_REQUEST)
                self._transport.close()

    def _complete(self, plan: Plan) -> None:
        assert self._transport is not None
        if not plan.events:
            self._transport.write(PLAIN)
            return
        self._left = plan.events
        self._interval_s = plan.interval_s
        self._due = self._loop.time()
        self._transport.write(STREAM_HEAD)
        self._schedule()

    def _schedule(self) -> None:
        if self._interval_s:
            self._due += self._interval_s
            self._timer = self._loop.call_at(self._due, self._write_event)
        else:
            # uvloop writes once per turn of its loop: one turn per event is one system call per event.
            self._timer = self._loop.call_soon(self._write_event)

    def _write_event(self) -> None:
        self._timer = None
        if self._transport is None or not self._can_write:
            return
        self._left -= 1
        before, after = (EVENT_BEFORE, EVENT_AFTER) if self._left else (LAST_BEFORE, LAST_AFTER)
        self._transport.write(b"%b%020d%b" % (before, time.monotonic_ns(), after))
        if self._left:
            self._schedule()
        else:
            self._transport.write(STREAM_TAIL)
            self._serve()


async def serve(port: int | None, uds: Path | None) -> None:
    """Listen on a loopback port, a Unix socket or both, until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    if port is not None:
        await loop.create_server(lambda: Upstream(loop), "127.0.0.1", port, backlog=4096)
    if uds is not None:
        await loop.create_unix_server(lambda: Upstream(loop), str(uds), backlog=4096)
    await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, help="loopback port to listen on")
    parser.add_argument("--uds", type=Path, help="Unix socket to listen on")
    options = parser.parse_args()
    if options.port is None and options.uds is None:
        parser.error("give --port, --uds or both")
    uvloop.run(serve(options.port, options.uds))


if __name__ == "__main__":
    main()
