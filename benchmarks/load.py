"""Streaming clients that cost little: raw bytes on keep-alive connections, no HTTP library in the way."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import cast

from upstream import STAMP_DIGITS

_STAMP = re.compile(rb"\d{%d}" % STAMP_DIGITS)
_END = b"\r\n0\r\n\r\n"


class BadAnswerError(Exception):
    """The front door answered something other than the 200 and the events that were asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Streams:
    """What a run of streams saw: how long it took, and per event the nanoseconds since it was written upstream."""

    count: int
    seconds: float
    delays_ns: list[int]


class _Client(asyncio.Protocol):
    """One connection that asks for a stream, reads it to its end, and asks again until it has had its share."""

    def __init__(self, request: bytes, count: int, *, timed: bool) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.delays_ns: list[int] = []
        self._request = request
        self._left = count
        self._timed = timed
        self._tail = b""
        self._at_head = True
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(BadAnswerError(f"the connection ended inside a stream ({exc})"))

    def _ask(self) -> None:
        assert self._transport is not None
        self._at_head = True
        self._tail = b""
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._tail + data
        if self._at_head and not data.startswith(b"HTTP/1.1 200"):
            self._fail(data)
            return
        self._at_head = False
        if data.endswith(_END):
            self._note(data, now)
            self._finished()
        else:
            self._tail = data[self._note(data, now) :][-2 * STAMP_DIGITS :]

    def _note(self, data: bytes, now: int) -> int:
        """Record the delay of each event in `data`; returns where the last one ended."""
        end = 0
        if self._timed:
            for match in _STAMP.finditer(data):
                self.delays_ns.append(now - int(match[0]))
                end = match.end()
        return end

    def _finished(self) -> None:
        assert self._transport is not None
        self._left -= 1
        if self._left:
            self._ask()
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()

    def _fail(self, data: bytes) -> None:
        assert self._transport is not None
        if not self.done.done():
            self.done.set_exception(BadAnswerError(data[:400].decode("latin-1")))
        self._transport.abort()


def post(port: int, body: bytes) -> bytes:
    """Build the bytes of a chat completion request."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _connected(client: _Client, port: int) -> asyncio.Transport:
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
    return transport


async def stream(port: int, body: bytes, *, connections: int, count: int, timed: bool, timeout_s: float) -> Streams:
    """Run `count` streams over `connections` connections at once.

    Raises:
        BadAnswerError: an answer was not a whole stream.
        TimeoutError: it took longer than `timeout_s`.
    """
    began = time.monotonic()
    shares = [count // connections + (index < count % connections) for index in range(connections)]
    clients = [_Client(post(port, body), share, timed=timed) for share in shares if share]
    async with asyncio.timeout(timeout_s):
        transports = [await _connected(client, port) for client in clients]
        try:
            await asyncio.gather(*(client.done for client in clients))
        finally:
            for transport in transports:
                transport.abort()
    delays = [delay for client in clients for delay in client.delays_ns]
    return Streams(count=count, seconds=time.monotonic() - began, delays_ns=delays)
