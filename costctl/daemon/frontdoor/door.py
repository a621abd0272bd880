"""The front door: who may in, what is let through, what is counted, and what is answered here."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from costctl.daemon.frontdoor import answers, forward
from costctl.daemon.frontdoor.sockets import SocketBridge
from costctl.daemon.supervisor import Refusal, Supervisor
from costctl.domain.lifecycle import EngineState
from costctl.domain.routes import Kind, kind_of, known_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp import web

    from costctl.daemon.frontdoor.keys import ApiKeys
    from costctl.domain.engines import LaunchPlan

logger = logging.getLogger(__name__)

BUFFERED_BODY = 2**20
"""Bodies up to this size are read before the engine is troubled, so that a slow client cannot wake or hold it."""
BUFFERED_TOTAL = 256 * 2**20
_BODY_TIMEOUT_S = 60.0
_OPEN_WITHOUT_KEY = frozenset(("/health", "/ping"))


class ServedBook(Protocol):
    """Where served requests are counted."""

    def request_served(self, model: str) -> None:
        """An inference request was answered."""
        ...


@dataclass(slots=True)
class _Buffered:
    total: int = 0


class FrontDoor:
    """Handles every request; see the module."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        keys: ApiKeys,
        book: ServedBook,
        own: Callable[[web.BaseRequest, forward.Upstream | None], Awaitable[web.StreamResponse]],
        most_body: int,
    ) -> None:
        self._supervisor = supervisor
        self._keys = keys
        self._book = book
        self._own = own
        self._most_body = most_body
        self._buffered = _Buffered()
        self._upstream: forward.Upstream | None = None
        self._sockets = SocketBridge(supervisor)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path = request.raw_path.partition("?")[0]
        kind = kind_of(request.method, path)
        if kind is None:
            return self._no_route(request.method, path)
        if not self._keys.admit(request.headers) and path not in _OPEN_WITHOUT_KEY:
            return answers.error(
                401, "this server needs an API key: Authorization: Bearer KEY", "invalid_api_key", close=True
            )
        match kind:
            case Kind.INFERENCE:
                return await self._infer(request)
            case Kind.SOCKET:
                return await self._socket(request)
            case Kind.PASSIVE:
                return await self._pass_on(request)
            case Kind.OWN:
                return await self._own(request, self._upstream_if_ready())

    async def close(self) -> None:
        """Let go of the engine's connections."""
        if self._upstream is not None:
            await self._upstream.close()
            self._upstream = None

    # --- inference -----------------------------------------------------------------------------------------------

    async def _infer(self, request: web.BaseRequest) -> web.StreamResponse:
        problem = await self._before_body(request)
        if problem is not None:
            return problem
        length = request.content_length
        if length is not None and length <= BUFFERED_BODY:
            return await self._infer_buffered(request, length)
        pieces = forward.read_in_pieces(request.content, most=self._most_body, timeout_s=_BODY_TIMEOUT_S)
        return await self._admitted(request, pieces)

    async def _infer_buffered(self, request: web.BaseRequest, length: int) -> web.StreamResponse:
        if self._buffered.total + length > BUFFERED_TOTAL:
            refusal = Refusal("queue_full", "too many large requests are waiting", 1.0)
            return answers.refused(refusal)
        self._buffered.total += length
        try:
            body = await forward.read_small(request.content, most=length, timeout_s=_BODY_TIMEOUT_S)
            return await self._admitted(request, body)
        except TimeoutError:
            return answers.error(408, "the body of the request came too slowly", "slow_body", close=True)
        finally:
            self._buffered.total -= length

    async def _admitted(self, request: web.BaseRequest, body: bytes | AsyncIterator[bytes]) -> web.StreamResponse:
        try:
            plan = await self._supervisor.enter()
        except Refusal as refusal:
            return answers.refused(refusal)
        try:
            response = await forward.forward(request, await self._connected(plan), body)
        except forward.EngineLostError as error:
            return answers.error(502, f"the engine broke off before it answered: {error}", "engine_died")
        except ValueError as error:
            return answers.error(413, f"{error} (limit {self._most_body} bytes)", "body_too_large", close=True)
        finally:
            self._supervisor.leave()
        self._book.request_served(plan.model)
        return response

    async def _before_body(self, request: web.BaseRequest) -> web.Response | None:
        """Settle what can be settled from the head alone; tell a client that waits for it to send its body."""
        length = request.content_length
        if length is not None and length > self._most_body:
            words = f"the body has {length} bytes, the limit is {self._most_body} (--max-body)"
            return answers.error(413, words, "body_too_large", close=True)
        expected = request.headers.get("Expect")
        if expected is None:
            return None
        if expected.lower() != "100-continue":
            return answers.error(417, f"unknown expectation {expected!r}", "bad_expectation", close=True)
        if request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    # --- the rest ------------------------------------------------------------------------------------------------

    async def _socket(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            plan = await self._supervisor.enter()
        except Refusal as refusal:
            return answers.refused(refusal)
        return await self._sockets.bridge(request, await self._connected(plan))

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        upstream = self._upstream_if_ready()
        if upstream is None:
            return answers.error(
                404, "the engine that knew this response is not running any more", "response_not_found"
            )
        try:
            return await forward.forward(request, upstream, b"")
        except forward.EngineLostError as error:
            return answers.error(502, f"the engine broke off: {error}", "engine_died")

    def _no_route(self, method: str, path: str) -> web.Response:
        if known_path(path):
            return answers.error(405, f"{path} does not take {method}", "method_not_allowed", close=True)
        return answers.error(404, f"costctl has no route {method} {path}", "route_not_found", close=True)

    def _upstream_if_ready(self) -> forward.Upstream | None:
        state, run = self._supervisor.lifecycle, self._supervisor.run
        if state.state is not EngineState.READY or run is None or run.plan is None:
            return None
        if self._upstream is None or self._upstream.plan is not run.plan:
            self._replace_upstream(run.plan)
        return self._upstream

    async def _connected(self, plan: LaunchPlan) -> forward.Upstream:
        if self._upstream is None or self._upstream.plan is not plan:
            self._replace_upstream(plan)
        assert self._upstream is not None  # noqa: S101 - it was just made
        return self._upstream

    def _replace_upstream(self, plan: LaunchPlan) -> None:
        before, self._upstream = self._upstream, forward.Upstream(plan)
        if before is not None:
            closing = asyncio.ensure_future(before.close())
            closing.add_done_callback(lambda _: None)
