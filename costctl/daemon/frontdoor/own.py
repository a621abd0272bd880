"""The routes that costctl answers itself, so that looking never wakes an engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote

import aiohttp
from aiohttp import web

from costctl import __version__
from costctl.daemon.frontdoor import answers
from costctl.daemon.frontdoor.forward import EngineLostError, Upstream, forward
from costctl.domain.lifecycle import EngineState

if TYPE_CHECKING:
    from costctl.daemon.supervisor import Supervisor

_ENGINE_TIMEOUT_S = 5.0
_METRICS = (
    ("costctl_requests_in_flight", "Requests that are with the engine.", "in_flight"),
    ("costctl_requests_waiting", "Requests that wait for the engine.", "waiting"),
)


class OwnRoutes:
    """Answers /health, /v1/models, /metrics and the like."""

    def __init__(self, *, supervisor: Supervisor, model: str, started_at: int) -> None:
        self._supervisor = supervisor
        self._model = model
        self._started_at = started_at

    async def answer(self, request: web.BaseRequest, upstream: Upstream | None) -> web.StreamResponse:
        """Answer one request; `upstream` is there while the engine is ready."""
        path = request.raw_path.partition("?")[0]
        match path:
            case "/health" | "/ping":
                return self._health()
            case "/version":
                return web.json_response({"version": __version__, "server": "costctl"})
            case "/metrics":
                return await self._metrics(upstream)
            case "/v1/models":
                return await self._models(request, upstream)
            case "/":
                return web.json_response({"server": f"costctl {__version__}", "api": "/v1", "model": self._model})
            case _:
                return self._one_model(unquote(path.removeprefix("/v1/models/")))

    def _health(self) -> web.Response:
        state = self._supervisor.lifecycle
        body = {"status": "closing" if state.closing else "ok", "engine": state.state.value, "model": self._model}
        return web.json_response(body, status=503 if state.closing else 200)

    async def _models(self, request: web.BaseRequest, upstream: Upstream | None) -> web.StreamResponse:
        if upstream is not None and request.method == "GET":  # vLLM has no HEAD
            try:
                async with asyncio.timeout(_ENGINE_TIMEOUT_S):
                    return (await forward(request, upstream, b"")).response
            except (EngineLostError, TimeoutError):
                pass  # it has just gone, or is too busy: answer as if it were down
        return web.json_response({"object": "list", "data": [self._card()]})

    def _one_model(self, name: str) -> web.Response:
        if name == self._model:
            return web.json_response(self._card())
        return answers.error(404, f"the model {name!r} does not exist here", "model_not_found")

    def _card(self) -> dict[str, object]:
        return {"id": self._model, "object": "model", "created": self._started_at, "owned_by": "costctl"}

    async def _metrics(self, upstream: Upstream | None) -> web.Response:
        state = self._supervisor.lifecycle
        lines = []
        for name, help_text, field in _METRICS:
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} gauge", f"{name} {getattr(state, field)}"]
        lines += ["# HELP costctl_engine_state The engine's state.", "# TYPE costctl_engine_state gauge"]
        lines += [f'costctl_engine_state{{state="{each}"}} {int(each is state.state)}' for each in EngineState]
        text = "\n".join(lines) + "\n"
        if upstream is not None:
            text += await _engine_metrics(upstream)
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _engine_metrics(upstream: Upstream) -> str:
    try:
        async with (
            asyncio.timeout(_ENGINE_TIMEOUT_S),
            upstream.session.get(f"{upstream.base}/metrics", headers=upstream.key) as answer,
        ):
            return await answer.text() if answer.ok else ""
    except (aiohttp.ClientError, OSError, UnicodeDecodeError):
        return ""
