"""Ask a running engine how it is, over HTTP."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

import aiohttp
import psutil

from costctl.domain.engines import Counters, read_counters
from costctl.errors import EngineUnreadableError

if TYPE_CHECKING:
    from costctl.domain.engines import Endpoint, LaunchPlan

_PROBE_TIMEOUT = aiohttp.ClientTimeout(total=5)
_PEER_CREDENTIALS = struct.Struct("3i")
_SERVER_ERROR = 500
_OK = 200
_NOT_FOUND = 404


class HttpEngineApi:
    """Talks to the engine of one launch (port EngineApi)."""

    def __init__(self, plan: LaunchPlan) -> None:
        self._plan = plan
        self._endpoint = plan.endpoint
        headers = {"Authorization": f"Bearer {plan.api_key}"} if plan.api_key else None
        connector = aiohttp.UnixConnector(plan.endpoint.uds) if plan.endpoint.uds else aiohttp.TCPConnector()
        self._session = aiohttp.ClientSession(base_url(plan.endpoint), connector=connector, headers=headers)

    async def healthy(self) -> bool:
        """Return whether the health route answers 200 within five seconds."""
        try:
            async with self._session.get(self._plan.health_path, timeout=_PROBE_TIMEOUT) as response:
                return response.status == _OK
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def reachable(self) -> bool:
        """Return whether anything accepts a connection at the endpoint."""
        try:
            _, writer = await asyncio.wait_for(_connect(self._endpoint), 2)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def listening_pid(self) -> int | None:
        """Return who listens: from the kernel, by the socket's credentials or the table of ports."""
        if self._endpoint.uds:
            return await _socket_owner(self._endpoint)
        return await asyncio.to_thread(_port_owner, self._endpoint.port)

    async def generates(self, timeout_s: float) -> bool:
        """Return whether a one-token completion is answered in time with anything but a server error.

        A model without that route (an embedding model) answers with a client's error, which is an answer too.
        """
        question = {"model": self._plan.model, "prompt": "Hi", "max_tokens": 1, "temperature": 0}
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.post("/v1/completions", json=question, timeout=timeout) as response:
                await response.read()
                return response.status < _SERVER_ERROR
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def counters(self) -> Counters | None:
        """Return the engine's counters.

        Raises:
            EngineUnreadableError: it does not answer.
        """
        try:
            async with self._session.get("/metrics", timeout=_PROBE_TIMEOUT) as response:
                text = (await response.read()).decode(errors="replace")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineUnreadableError(f"no metrics from the engine: {type(error).__name__}: {error}") from error
        if response.status == _OK:
            return read_counters(text)
        if response.status == _NOT_FOUND:
            return None
        raise EngineUnreadableError(f"no metrics from the engine: HTTP {response.status}")

    async def close(self) -> None:
        """Let go of all connections."""
        await self._session.close()


def base_url(endpoint: Endpoint) -> str:
    """Return the URL that requests to the endpoint are made for; over a Unix socket its host is only a name."""
    return "http://engine" if endpoint.uds else f"http://127.0.0.1:{endpoint.port}"


async def _connect(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if endpoint.uds:
        return await asyncio.open_unix_connection(endpoint.uds)
    return await asyncio.open_connection("127.0.0.1", endpoint.port)


async def _socket_owner(endpoint: Endpoint) -> int | None:
    try:
        _, writer = await asyncio.wait_for(_connect(endpoint), 2)
    except (OSError, TimeoutError):
        return None
    connection = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    writer.close()
    pid, _, _ = _PEER_CREDENTIALS.unpack(credentials)
    return int(pid) or None


def _port_owner(port: int | None) -> int | None:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port:
                return connection.pid
    except psutil.Error:
        return None
    return None
