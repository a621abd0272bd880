"""The HTTP application: every route, the key, and errors in vLLM's shapes."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from typing import TYPE_CHECKING

from aiohttp import web

from costctl.adapters.engines.sim import sleeping
from costctl.adapters.engines.sim.failures import Kind
from costctl.adapters.engines.sim.inference import Inference
from costctl.adapters.engines.sim.metrics import render
from costctl.adapters.engines.sim.pooling import Pooling
from costctl.adapters.engines.sim.realtime import Realtime
from costctl.adapters.engines.sim.startup import VERSION
from costctl.adapters.engines.sim.wire import ApiError, Body, encode, openai_error

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from costctl.adapters.engines.sim.engine import Engine
    from costctl.adapters.engines.sim.log import EngineLog

GUARDED_PREFIXES = ("/v1", "/v2", "/inference", "/cohere")
"""vLLM asks for the key under these only: `/invocations` and the development routes are open."""
LARGEST_BODY_BYTES = 1024**3
METRICS_TYPE = {"Content-Type": "text/plain; version=1.0.0; charset=utf-8"}


def build_app(engine: Engine, log: EngineLog) -> web.Application:
    """Return the whole application."""
    app = web.Application(middlewares=[_edge(engine, log)], client_max_size=LARGEST_BODY_BYTES)
    for part in (Inference(engine), Pooling(engine), Realtime(engine), Administration(engine)):
        app.add_routes(part.routes())
    return app


def list_routes(app: web.Application) -> list[tuple[str, str]]:
    """Return path and method of every route."""
    return [(route.resource.canonical, route.method) for route in app.router.routes() if route.resource]


def _edge(engine: Engine, log: EngineLog) -> Middleware:
    """Return the middleware that checks the key, words errors and writes the access log."""
    settings = engine.settings

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await _checked(request, handler)
        except ApiError as error:
            response = _json(openai_error(error), error.status)
        except web.HTTPClientError as error:
            response = _json({"detail": error.reason}, error.status)
            response.headers.update({name: value for name, value in error.headers.items() if name == "Allow"})
        if settings.access_log:
            line = f"{request.method} {request.path_qs} HTTP/{request.version.major}.{request.version.minor}"
            log.raw(f'INFO:     {request.remote or ""} - "{line}" {response.status} {response.reason}')
        return response

    async def _checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        if settings.api_key and request.path.startswith(GUARDED_PREFIXES) and request.method != "OPTIONS":
            given = request.headers.get("Authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {settings.api_key}".encode()):
                return _json({"error": "Unauthorized"}, 401)
        return await handler(request)

    return edge


class Administration:
    """Handlers for everything that is not inference."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._settings = engine.settings

    def routes(self) -> list[web.RouteDef]:
        """Return the routes; the development ones only if they are switched on."""
        always = [
            web.get("/health", self.health, allow_head=False),
            web.get("/ping", self.health, allow_head=False),
            web.post("/ping", self.health),
            web.get("/version", self.version, allow_head=False),
            web.get("/metrics", self.metrics, allow_head=False),
            web.get("/load", self.load, allow_head=False),
            web.get("/v1/models", self.models, allow_head=False),
        ]
        development = [
            web.post("/sleep", self.sleep),
            web.post("/wake_up", self.wake_up),
            web.get("/is_sleeping", self.is_sleeping, allow_head=False),
            web.post("/reset_prefix_cache", self.reset_prefix_cache),
            web.get("/server_info", self.server_info, allow_head=False),
        ]
        return always + (development if self._settings.dev_mode else [])

    async def health(self, _request: web.Request) -> web.Response:
        """Return 200 unless the engine core is dead: also while asleep, and while shutting down."""
        await asyncio.sleep(self._settings.failures.number(Kind.SLOW_HEALTH) or 0)
        return web.Response(status=503 if self._engine.dead else 200)

    async def version(self, _request: web.Request) -> web.Response:
        """Return the version of vLLM that is played."""
        return _json({"version": VERSION})

    async def metrics(self, _request: web.Request) -> web.Response:
        """Return Prometheus text."""
        page = render(self._settings.served_model_name, self._engine.counters, self._engine.gauges())
        # Not one of vLLM's, which counts aborted requests nowhere.
        aborted = f"# TYPE sim:requests_aborted_total counter\nsim:requests_aborted_total {self._engine.aborted}\n"
        return web.Response(body=(page + aborted).encode(), headers=METRICS_TYPE)

    async def load(self, _request: web.Request) -> web.Response:
        """Return the unanswered requests, which vLLM counts only when told to."""
        return _json({"server_load": self._engine.unfinished if self._settings.load_tracking else 0})

    async def models(self, _request: web.Request) -> web.Response:
        """Return the one model."""
        now = int(time.time())
        permission = {"id": f"modelperm-{secrets.token_hex(8)}", "object": "model_permission", "created": now}
        model = {
            "id": self._settings.served_model_name,
            "object": "model",
            "created": now,
            "owned_by": "vllm",
            "root": self._settings.model,
            "parent": None,
            "max_model_len": self._settings.max_model_len,
            "permission": [permission],
        }
        return _json({"object": "list", "data": [model]})

    async def sleep(self, request: web.Request) -> web.Response:
        """Go to sleep; the default mode aborts what is running, as in vLLM."""
        level = request.query.get("level", "1")
        mode = request.query.get("mode", "abort")
        if level not in {"0", "1", "2"} or mode not in {"abort", "wait", "keep"}:
            raise ApiError(
                400, "Bad Request", "1 validation error: level is 0 to 2, mode is abort, wait or keep", "query"
            )
        await self._engine.sleep(int(level), mode)
        return _json({"status": "sleeping", "level": int(level)})

    async def wake_up(self, request: web.Request) -> web.Response:
        """Wake the parts that are named, or all."""
        tags = request.query.getall("tags", None)
        awake = await self._engine.wake(frozenset(tags) if tags else sleeping.TAGS)
        return _json({"status": "awake" if awake else "sleeping", "tags": tags})

    async def is_sleeping(self, _request: web.Request) -> web.Response:
        """Return whether the engine sleeps."""
        return _json({"is_sleeping": self._engine.sleep_mode.level is not None})

    async def reset_prefix_cache(self, _request: web.Request) -> web.Response:
        """Do nothing: there is no cache."""
        return _json({"success": True})

    async def server_info(self, _request: web.Request) -> web.Response:
        """Return the settings, without the key."""
        return _json({"vllm_config": repr(self._settings)})


def _json(body: Body, status: int = 200) -> web.Response:
    return web.Response(body=encode(body), status=status, content_type="application/json")
