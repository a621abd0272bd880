"""The front door: who may in, what is let through, what is counted, and what is answered here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from aiohttp import HttpVersion10, HttpVersion11, web

from costctl.daemon.frontdoor import answers, forward
from costctl.daemon.frontdoor.bodies import Body, BodyError, Memory, too_large
from costctl.daemon.frontdoor.copies import replay
from costctl.daemon.frontdoor.sockets import QUIET_AFTER_S, SocketBridge
from costctl.daemon.supervisor import Refusal, Supervisor
from costctl.domain.lifecycle import EngineState
from costctl.domain.routes import Kind, kind_of, known_path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from costctl.daemon.frontdoor.caching import AnswerCache
    from costctl.daemon.frontdoor.copies import Copy
    from costctl.daemon.frontdoor.keys import ApiKeys
    from costctl.domain.engines import LaunchPlan

_BODY_PATIENCE_S = 60.0
_LAST_LINES = 5
_FIRST_FAILURE = 400
_OPEN_WITHOUT_KEY = frozenset(("/health", "/ping"))


class ServedBook(Protocol):
    """Where served requests are counted."""

    def request_served(self, model: str) -> None:
        """An inference request was answered, as far as its client waited for it."""
        ...


class FrontDoor:
    """Handles every request; see the module."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        keys: ApiKeys,
        book: ServedBook,
        own: Callable[[web.BaseRequest, forward.Upstream | None], Awaitable[web.StreamResponse]],
        stored: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        most_body: int,
        cache: AnswerCache | None = None,
        body_patience_s: float = _BODY_PATIENCE_S,
        quiet_after_s: float = QUIET_AFTER_S,
    ) -> None:
        self._supervisor = supervisor
        self._keys = keys
        self._book = book
        self._own = own
        self._stored = stored
        self._most_body = most_body
        self._cache = cache
        self._body_patience_s = body_patience_s
        self._memory = Memory()
        self._upstream: forward.Upstream | None = None
        self._sockets = SocketBridge(supervisor, quiet_after_s=quiet_after_s)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request of a client, who has to show a key if there are any."""
        path = _path(request)
        if kind_of(request.method, path) and path not in _OPEN_WITHOUT_KEY and not self._keys.admit(request.headers):
            return answers.error(
                401, "this server needs an API key: Authorization: Bearer KEY", "invalid_api_key", close=True
            )
        return await self.handle_owner(request)

    async def handle_owner(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request of somebody who needs no key: the owner, at the control socket."""
        path = _path(request)
        kind = kind_of(request.method, path)
        match kind:
            case None:
                return self._no_route(request.method, path)
            case Kind.INFERENCE:
                return await self._infer(request)
            case Kind.SOCKET:
                return await self._socket(request)
            case Kind.PASSIVE:
                return await self._pass_on(request)
            case Kind.OWN:
                return await self._own(request, self._upstream_if_ready())
            case Kind.STORED:
                return await self._stored(request)

    async def close(self) -> None:
        """Let go of the engine's connections, and of the cache."""
        if self._cache is not None:
            await self._cache.close()
        if self._upstream is not None:
            await self._upstream.close()
            self._upstream = None

    # --- inference -----------------------------------------------------------------------------------------------

    async def _infer(self, request: web.BaseRequest) -> web.StreamResponse:
        problem = self._settle_from_head(request)
        if problem is not None:
            return problem
        body = Body(request, most=self._most_body, patience_s=self._body_patience_s, memory=self._memory)
        try:
            whole = await body.read_start()
            if self._cache is None or whole is None:
                return await self._admitted(request, whole, body)
            return await self._cached(self._cache, request, whole, body)
        except BodyError as error:
            return _refused_body(error)
        finally:
            body.let_go()

    async def _cached(
        self, cache: AnswerCache, request: web.BaseRequest, whole: bytes, body: Body
    ) -> web.StreamResponse:
        """Answer from the cache, before anything is admitted; else from the engine, and keep that. Raises BodyError."""
        question = cache.question(request, whole)
        if question is None:
            return await self._admitted(request, whole, body)
        found = await cache.find(question)
        if found is not None:
            return await replay(request, found)
        copy = cache.copy_for(question)
        try:
            return await self._admitted(request, whole, body, copy)
        finally:
            copy.close()

    async def _admitted(
        self, request: web.BaseRequest, whole: bytes | None, body: Body, copy: Copy | None = None
    ) -> web.StreamResponse:
        """Wait for the engine and pass the request on: its `whole` body, or else the rest of it as it comes.

        Raises:
            BodyError: the rest of the body did not come as it should.
        """
        try:
            plan = await self._supervisor.enter()
        except Refusal as refusal:
            return answers.refused(refusal, self._last_words(refusal))
        # One whose client leaves counts too, and be it at the last byte: the engine has worked for it.
        is_served, is_answered = True, False
        try:
            done = await forward.forward(request, self._connected(plan), body if whole is None else whole, copy)
            is_answered = done.is_whole and done.response.status < _FIRST_FAILURE
        except forward.EngineLostError as error:
            is_served = False
            if body.failure is not None:
                raise body.failure from None
            return answers.error(502, f"the engine broke off before it answered: {error}", "engine_died")
        else:
            return done.response
        finally:
            self._supervisor.leave(answered=is_answered)
            if is_served:
                self._book.request_served(plan.model)

    def _settle_from_head(self, request: web.BaseRequest) -> web.Response | None:
        """Settle what can be settled from the head alone; tell a client that waits for it to send its body."""
        if request.version < HttpVersion10:
            return answers.error(400, "HTTP before 1.0 is not spoken here", "bad_request", close=True)
        length = request.content_length
        if length is not None and length > self._most_body:
            return _refused_body(too_large(self._most_body))
        expected = request.headers.get("Expect")
        if expected is None or request.version < HttpVersion11:
            return None
        if expected.lower() != "100-continue":
            return answers.error(417, f"unknown expectation {expected!r}", "bad_expectation", close=True)
        answers.send_continue(request)
        return None

    # --- the rest ------------------------------------------------------------------------------------------------

    async def _socket(self, request: web.BaseRequest) -> web.StreamResponse:
        if not web.WebSocketResponse().can_prepare(request):
            headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
            return answers.error(426, "this route is a WebSocket", "websocket_expected", headers=headers)
        try:
            plan = await self._supervisor.enter()
        except Refusal as refusal:
            return answers.refused(refusal, self._last_words(refusal))
        return await self._sockets.bridge(request, self._connected(plan))

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        upstream = self._upstream_if_ready()
        if upstream is None:
            return answers.error(
                404, "the engine that knew this response is not running any more", "response_not_found"
            )
        try:
            return (await forward.forward(request, upstream, b"")).response
        except forward.EngineLostError as error:
            return answers.error(502, f"the engine broke off: {error}", "engine_died")

    def _last_words(self, refusal: Refusal) -> list[str]:
        run = self._supervisor.last_run
        if refusal.code != "engine_failed" or run is None or not run.tail:
            return []
        return ["The last lines of its log:", *list(run.tail)[-_LAST_LINES:]]

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

    def _connected(self, plan: LaunchPlan) -> forward.Upstream:
        if self._upstream is None or self._upstream.plan is not plan:
            self._replace_upstream(plan)
        assert self._upstream is not None  # noqa: S101 - it was just made
        return self._upstream

    def _replace_upstream(self, plan: LaunchPlan) -> None:
        before, self._upstream = self._upstream, forward.Upstream(plan)
        if before is not None:
            closing = asyncio.ensure_future(before.close())
            closing.add_done_callback(lambda _: None)


def _path(request: web.BaseRequest) -> str:
    return request.raw_path.partition("?")[0]


def _refused_body(error: BodyError) -> web.Response:
    if error.retry_after_s is not None:
        return answers.refused(Refusal(error.code, error.message, error.retry_after_s))
    return answers.error(error.status, error.message, error.code, close=True)
