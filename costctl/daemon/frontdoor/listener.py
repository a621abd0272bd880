"""The listening side: sockets, header timeouts, and clients that stopped reading."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from costctl.daemon.frontdoor import answers

logger = logging.getLogger(__name__)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_HEAD_TIMEOUT_S = 20.0
_KEEP_ALIVE_S = 75.0
_SERVER_FAULT = 500
_BACKLOG = 4096
_SWEEP_EVERY_S = 30.0
_STUCK_AFTER_SWEEPS = 10
_LARGEST_HEADERS = 64 * 1024
# A client whose machine vanished says nothing: the kernel has to ask.
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 120_000))


class _Connection(RequestHandler):
    """A client's connection that must send its first request's head in time."""

    stalled_at: tuple[int, int] = (0, 0)
    body_fault: str | None = None
    """Why the body of the present request ended before its end, if it did."""

    def __init__(self, *arguments: Any, head_timeout_s: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_timer = asyncio.get_running_loop().call_later(self._head_timeout_s, self._head_too_slow)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            _watch_peer(connection)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # aiohttp queues such an error behind the request whose body is broken, and which would wait for it for ever.
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo) and self._current_request is not None:
            content = self._current_request.content
            if not content.is_eof():
                self.body_fault = first_line(self._messages[-1][0].message)
                content.feed_eof()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.head_came()
        super().connection_lost(exc)

    def head_came(self) -> None:
        """Stop waiting for the first request's head."""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = _SERVER_FAULT,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that cannot be read, or whose handler failed, in OpenAI's shape (aiohttp's is plain text).

        Raises:
            ConnectionError: a part of another answer is already out.
        """
        if status >= _SERVER_FAULT:
            logger.error("a request failed inside costctl: %s %s", request.method, request.raw_path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is already under way")
        if status >= _SERVER_FAULT:
            return answers.error(status, "costctl failed at this request; its log says why", "internal", close=True)
        words = f"this is not a request that can be read: {first_line(message)}"
        return answers.error(status, words, "bad_request", close=True)

    def _head_too_slow(self) -> None:
        if self.transport is not None:
            self.transport.close()


class _Server(web.Server):
    """Makes our connections instead of aiohttp's plain ones."""

    def __init__(self, handler: Handler, *, head_timeout_s: float, **options: Any) -> None:
        super().__init__(handler, **options)
        self._head_timeout_s = head_timeout_s

    def __call__(self) -> _Connection:
        return _Connection(self, loop=self._loop, head_timeout_s=self._head_timeout_s, **self._kwargs)


class Listener:
    """Accepts connections and hands requests to `handler`."""

    def __init__(
        self,
        handler: Handler,
        *,
        head_timeout_s: float = _HEAD_TIMEOUT_S,
        keep_alive_s: float = _KEEP_ALIVE_S,
        sweep_every_s: float = _SWEEP_EVERY_S,
    ) -> None:
        self._handler = handler
        self._sweep_every_s = sweep_every_s
        # A client that leaves cancels its handler, and with it the engine's work, streamed or not.
        self._server = _Server(
            self._handle,
            head_timeout_s=head_timeout_s,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,  # a compressed body passes as it is, with its header
            max_field_size=_LARGEST_HEADERS,
            max_line_size=_LARGEST_HEADERS,
            keepalive_timeout=keep_alive_s,
        )
        self._listening: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, also where any free one was asked for."""
        assert self._listening is not None  # noqa: S101 - only asked once it listens
        return int(self._listening.sockets[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._server, host, port, backlog=_BACKLOG)
        self._sweeper = asyncio.create_task(self._sweep())

    async def start_on(self, bound: socket.socket) -> None:
        """Listen on a Unix socket that is bound already."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_unix_server(self._server, sock=bound, backlog=_BACKLOG)
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop_accepting(self) -> None:
        """Accept no more connections; those there are go on."""
        if self._listening is not None:
            self._listening.close()

    async def stop(self, timeout_s: float) -> None:
        """Close everything, waiting at most `timeout_s` for answers under way."""
        await self.stop_accepting()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._server.pre_shutdown()
        await self._server.shutdown(timeout_s)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection: Any = request.protocol
        connection.head_came()
        return await self._handler(request)

    async def _sweep(self) -> None:
        """Cut off clients that have not taken a byte of their answer for minutes: they hold the GPU awake."""
        while True:
            await asyncio.sleep(self._sweep_every_s)
            for connection in list(self._server.connections):
                if isinstance(connection, _Connection) and connection.transport is not None:
                    _cut_if_stuck(connection, connection.transport)


def first_line(message: str | None) -> str:
    """Return the first line of what aiohttp's parser says; the others quote the request."""
    return next(iter((message or "").splitlines()), "").rstrip(": ")


def _cut_if_stuck(connection: _Connection, transport: asyncio.Transport) -> None:
    size, sweeps = connection.stalled_at
    waiting = transport.get_write_buffer_size()
    connection.stalled_at = (waiting, sweeps + 1 if waiting and waiting == size else 0)
    if connection.stalled_at[1] >= _STUCK_AFTER_SWEEPS:
        logger.warning("a client takes nothing of its answer: connection cut")
        transport.abort()


def _watch_peer(connection: Any) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        with suppress(AttributeError, OSError):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
