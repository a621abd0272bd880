"""WebSockets (`/v1/realtime`): passed on message by message, and active only as long as messages flow."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import WSMsgType, web

from costctl.daemon.frontdoor import answers
from costctl.daemon.frontdoor.forward import Upstream, headers_for_engine
from costctl.domain.lifecycle import EngineState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costctl.daemon.supervisor import Supervisor
    from costctl.domain.engines import LaunchPlan

logger = logging.getLogger(__name__)

QUIET_AFTER_S = 30.0
"""A socket without a message for so long no longer counts as a request in flight: a forgotten tab must not pay rent."""
_LARGEST_MESSAGE = 64 * 2**20
_LEFT, _BROKE, _RESTARTS = 1001, 1011, 1012
_HANDSHAKE = ("sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol")


class _EngineLeftError(Exception):
    """The engine that a socket led to is stopped."""


class _Ticket:
    """A socket's place among the requests in flight, given back while the socket is quiet."""

    def __init__(self, supervisor: Supervisor, plan: LaunchPlan, *, quiet_after_s: float) -> None:
        self._supervisor = supervisor
        self._plan = plan
        self._quiet_after_s = quiet_after_s
        self._inside = True
        self._timer: asyncio.TimerHandle | None = None
        self._rearm()

    async def touch(self) -> None:
        """Count a message.

        Raises:
            _EngineLeftError: the engine of this socket is not up any more; another is not started for it.
        """
        if not self._inside:
            run = self._supervisor.run
            if run is None or run.plan is not self._plan or self._supervisor.lifecycle.state is not EngineState.READY:
                raise _EngineLeftError
            await self._supervisor.enter()
            self._inside = True
        self._rearm()

    def give_back(self) -> None:
        """Leave, if not outside already."""
        if self._timer is not None:
            self._timer.cancel()
        if self._inside:
            self._inside = False
            self._supervisor.leave()

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._quiet_after_s, self.give_back)


class SocketBridge:
    """Joins clients' sockets to the engine's."""

    def __init__(self, supervisor: Supervisor, *, quiet_after_s: float = QUIET_AFTER_S) -> None:
        self._supervisor = supervisor
        self._quiet_after_s = quiet_after_s

    async def bridge(self, request: web.BaseRequest, upstream: Upstream) -> web.StreamResponse:
        """Serve one socket whose request has entered; it leaves here."""
        ticket = _Ticket(self._supervisor, upstream.plan, quiet_after_s=self._quiet_after_s)
        try:
            return await self._join(request, upstream, ticket)
        except aiohttp.WSServerHandshakeError as error:
            return answers.error(error.status, "the engine refused the WebSocket", "websocket_refused", close=True)
        except (aiohttp.ClientError, OSError) as error:
            return answers.error(502, f"the engine broke off: {error}", "engine_died", close=True)
        finally:
            ticket.give_back()

    async def _join(self, request: web.BaseRequest, upstream: Upstream, ticket: _Ticket) -> web.StreamResponse:
        headers = headers_for_engine(request.headers, upstream.key)
        for name in _HANDSHAKE:
            headers.popall(name, None)
        protocols = _protocols(request.headers)
        async with upstream.session.ws_connect(
            upstream.url(request.raw_path), headers=headers, protocols=protocols, max_msg_size=_LARGEST_MESSAGE
        ) as engine:
            client = web.WebSocketResponse(
                protocols=(engine.protocol,) if engine.protocol else (), max_msg_size=_LARGEST_MESSAGE
            )
            await client.prepare(request)
            await _talk(client, engine, ticket)
            return client


async def _talk(client: web.WebSocketResponse, engine: aiohttp.ClientWebSocketResponse, ticket: _Ticket) -> None:
    """Pass messages until either side ends, then end the other with the same code."""
    inward = asyncio.create_task(_pump(client, engine, ticket))
    outward = asyncio.create_task(_pump(engine, client, ticket))
    try:
        await asyncio.wait({inward, outward}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        inward.cancel()
        outward.cancel()
        ends = await asyncio.gather(inward, outward, return_exceptions=True)
        replaced = any(isinstance(end, _EngineLeftError) for end in ends)
        if inward.cancelled() or replaced:
            await client.close(code=_RESTARTS if replaced else _sayable(engine.close_code, _BROKE))
        await engine.close(code=_sayable(client.close_code, _LEFT))


def _sayable(code: int | None, otherwise: int) -> int:
    """Return a close code as it may be sent: some only stand for there having been none."""
    return otherwise if code in (None, 1005, 1006, 1015) else int(code)


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    sink: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    ticket: _Ticket,
) -> None:
    async for message in source:
        await ticket.touch()
        if message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)


def _protocols(headers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip())
