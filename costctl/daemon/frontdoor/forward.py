"""The data path: one request to the engine and its answer back, bytes as they come.

Kept apart from everything else: `forward` needs an aiohttp request and an `Upstream`, nothing of the daemon.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from costctl.daemon.frontdoor.answers import broken_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Mapping

    from aiohttp.client_proto import ResponseHandler
    from multidict import MultiMapping

    from costctl.domain.engines import LaunchPlan

_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer")
) | {"transfer-encoding", "upgrade"}
# The front door has read the client's key and its expectation; the length follows from the body that is sent.
_NOT_FOR_ENGINE = _HOP_BY_HOP | {"host", "authorization", "x-api-key", "expect", "content-length"}
_NOT_FOR_CLIENT = _HOP_BY_HOP | {"date", "server"}
# Timers cost a tenth of a plain request; a client that has enough leaves, and the run watches a stalled engine.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)
# Less than the 5 s after which uvicorn closes an idle connection by default.
_KEEP_ALIVE_S = 4.0
_SMALL_ANSWER = 256 * 1024
_MOST_URLS = 64
_RETRY_WITHIN_S = 1.0
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_LONGEST_EVENT = 2**20


class EngineLostError(Exception):
    """The engine broke off before it began to answer."""


class Forwarded(NamedTuple):
    """The response that was sent, and whether the engine brought it to its end."""

    response: web.StreamResponse
    is_whole: bool


class Tee(Protocol):
    """Takes in an answer while it passes."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What is added to the answer's headers."""
        ...

    def begin(self, status: int, content_type: str, encoding: str | None) -> None:
        """Take in the head of the answer."""
        ...

    def add(self, chunk: bytes) -> None:
        """Take in the next part of it."""
        ...

    def end(self) -> None:
        """Learn that the answer was whole."""
        ...


class _UnixConnector(aiohttp.UnixConnector):
    """Counts the connections that it makes."""

    made = 0

    async def _create_connection(self, *arguments: Any) -> ResponseHandler:
        self.made += 1
        return await super()._create_connection(*arguments)


class _TcpConnector(aiohttp.TCPConnector):
    """Counts the connections that it makes."""

    made = 0

    async def _create_connection(self, *arguments: Any) -> ResponseHandler:
        self.made += 1
        return await super()._create_connection(*arguments)


class Upstream:
    """The connections to one engine run."""

    def __init__(self, plan: LaunchPlan) -> None:
        self.plan = plan
        endpoint = plan.endpoint
        self.base = "http://engine" if endpoint.uds else f"http://127.0.0.1:{endpoint.port}"
        self._urls: dict[str, URL] = {}
        self.key = {"Authorization": f"Bearer {plan.api_key}"} if plan.api_key else {}
        self.connector: _UnixConnector | _TcpConnector
        if endpoint.uds:
            self.connector = _UnixConnector(endpoint.uds, limit=0, keepalive_timeout=_KEEP_ALIVE_S)
        else:
            self.connector = _TcpConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S, use_dns_cache=False)
        self.session = aiohttp.ClientSession(
            connector=self.connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_NO_TIMEOUT,
            auto_decompress=False,
            skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
        )

    def url(self, raw_path: str) -> URL:
        """Return the engine's URL for a path as the client wrote it."""
        url = self._urls.get(raw_path)
        if url is None:
            url = URL(self.base + raw_path, encoded=True)
            if (
                "?" not in raw_path and len(self._urls) < _MOST_URLS
            ):  # routes are few; queries and responses' ids are not
                self._urls[raw_path] = url
        return url

    async def close(self) -> None:
        """Drop all connections."""
        await self.session.close()


def headers_for_engine(headers: MultiMapping[str], key: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the client's headers without what concerns only its own connection, and with the engine's key."""
    kept = _without(headers, _NOT_FOR_ENGINE)
    kept.update(key)
    return kept


def _without(headers: MultiMapping[str], dropped: frozenset[str]) -> CIMultiDict[str]:
    """Return the headers that are neither `dropped` nor, by the Connection header, for this connection only."""
    for named in headers.getall(hdrs.CONNECTION, ()):
        dropped = dropped | {name.strip().lower() for name in named.split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


async def forward(
    request: web.BaseRequest, upstream: Upstream, body: bytes | AsyncIterable[bytes], tee: Tee | None = None
) -> Forwarded:
    """Pass a request on and its answer back, to `tee` too.

    Raises:
        EngineLostError: the engine broke off before it answered; nothing was sent to the client.
    """
    headers = headers_for_engine(request.headers, upstream.key)
    if not isinstance(body, bytes) and request.content_length is not None:
        headers[hdrs.CONTENT_LENGTH] = str(request.content_length)  # else a body that ends early would look whole
    sent_at = time.monotonic()
    try:
        return await _exchange(request, upstream, headers, body, tee)
    except _KeepAliveRaceError as error:
        if not isinstance(body, bytes) or time.monotonic() - sent_at > _RETRY_WITHIN_S:
            raise EngineLostError(str(error)) from error
    try:
        return await _exchange(request, upstream, headers, body, tee)
    except _KeepAliveRaceError as error:
        raise EngineLostError(str(error)) from error


class _KeepAliveRaceError(Exception):
    """A kept connection was closed by the engine in the moment in which it was used again."""


async def _exchange(
    request: web.BaseRequest,
    upstream: Upstream,
    headers: CIMultiDict[str],
    body: bytes | AsyncIterable[bytes],
    tee: Tee | None,
) -> Forwarded:
    made_before = upstream.connector.made
    exchange = upstream.session.request(
        request.method, upstream.url(request.raw_path), headers=headers, data=body or None, allow_redirects=False
    )
    try:
        answer = await exchange
    except aiohttp.ServerDisconnectedError as error:
        if upstream.connector.made == made_before and not _began_to_answer(error):
            raise _KeepAliveRaceError("it closed the connection") from error
        raise EngineLostError("it closed the connection") from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineLostError(str(error) or type(error).__name__) from error
    async with answer:
        return await _answer(request, answer, tee)


def _began_to_answer(error: aiohttp.ServerDisconnectedError) -> bool:
    """Return whether a part of an answer's head had come: then the error carries it instead of words."""
    return not isinstance(error.message, str)


async def _answer(request: web.BaseRequest, answer: aiohttp.ClientResponse, tee: Tee | None) -> Forwarded:
    headers = _without(answer.headers, _NOT_FOR_CLIENT)
    if tee is not None:
        headers.update(tee.headers)
        tee.begin(answer.status, headers.get(hdrs.CONTENT_TYPE, ""), headers.get(hdrs.CONTENT_ENCODING))
    length = answer.headers.get(hdrs.CONTENT_LENGTH)
    if length is not None and int(length) <= _SMALL_ANSWER:
        try:
            content = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise EngineLostError(str(error)) from error
        if tee is not None:
            tee.add(content)
            tee.end()
        headers.popall(hdrs.CONTENT_LENGTH)
        whole = web.Response(body=content, status=answer.status, reason=answer.reason, headers=headers)
        await whole.prepare(request)
        await whole.write_eof()
        return Forwarded(whole, is_whole=True)
    return await _stream(request, answer, headers, tee)


async def _stream(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, headers: CIMultiDict[str], tee: Tee | None
) -> Forwarded:
    is_whole = True
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    events = headers.get(hdrs.CONTENT_TYPE, "").startswith("text/event-stream")
    if events:
        response.headers.setdefault("X-Accel-Buffering", "no")  # a proxy in front of us must not buffer either
    told = events and hdrs.CONTENT_ENCODING not in headers and hdrs.CONTENT_LENGTH not in headers
    with suppress(ConnectionResetError):  # the client has left: so does the engine's connection, by the caller
        await response.prepare(request)
        try:
            await _pass_on(answer.content, response.write if tee is None else _both(response, tee), by_event=told)
            if tee is not None:
                tee.end()
        except _BrokenOffError as error:
            is_whole = False
            await _break_off(request, response, told=told, why=str(error))
        await response.write_eof()
    return Forwarded(response, is_whole=is_whole)


class _BrokenOffError(Exception):
    """The engine broke off in the middle of its answer."""


def _both(response: web.StreamResponse, tee: Tee) -> Callable[[bytes], Awaitable[None]]:
    async def write(chunk: bytes) -> None:
        tee.add(chunk)
        await response.write(chunk)

    return write


async def _pass_on(content: aiohttp.StreamReader, write: Callable[[bytes], Awaitable[None]], *, by_event: bool) -> None:
    held = b""
    while chunk := await _next_chunk(content):
        whole, held = whole_events(held, chunk) if by_event else (chunk, b"")
        if whole:
            await write(whole)
    if held:
        await write(held)


async def _next_chunk(content: aiohttp.StreamReader) -> bytes:
    try:
        return await content.readany()
    except (aiohttp.ClientError, OSError) as error:
        raise _BrokenOffError(str(error)) from error


def whole_events(held: bytes, chunk: bytes) -> tuple[bytes, bytes]:
    """Return the events that are complete, and the beginning of the next, which is held until it is.

    Half an event is of no use to a client, and would spoil the error that follows if the engine dies here. Engines
    write whole events, so that hardly ever anything is held.
    """
    if held:
        chunk = held + chunk
    if chunk.endswith(_EVENT_ENDS) or len(chunk) > _LONGEST_EVENT:
        return chunk, b""
    end = max(chunk.rfind(mark) + len(mark) if mark in chunk else 0 for mark in _EVENT_ENDS)
    return chunk[:end], chunk[end:]


async def _break_off(request: web.BaseRequest, response: web.StreamResponse, *, told: bool, why: str) -> None:
    """Tell the client that its answer ends early: with an event if it reads events, else by a torn connection."""
    if told:
        message = f"the engine died while it answered ({why}); send the request again"
        await response.write(broken_stream(request.raw_path.partition("?")[0], message))
    elif request.transport is not None:
        request.transport.abort()
