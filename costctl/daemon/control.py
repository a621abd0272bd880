"""The control socket: what the other commands ask the daemon, over HTTP on a private Unix socket.

Whoever may open it is the owner: the front door's routes are served here too, without a key.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from costctl.daemon.frontdoor.listener import Listener
from costctl.errors import AnswerStoreError, CostctlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from costctl.daemon.batch_routes import BatchRoutes
    from costctl.daemon.frontdoor.caching import AnswerCache
    from costctl.daemon.frontdoor.door import FrontDoor
    from costctl.daemon.schedules import Schedules
    from costctl.daemon.status import StatusView
    from costctl.daemon.supervisor import Supervisor

_LAST_ANSWERS_S = 1.0
_CANCEL = re.compile(r"/batches/([^/]+)/cancel")


class Control:
    """Serves `GET /status`, `POST /stop`, `POST /stop-engine`, batches, schedules, the cache, and the door's routes."""

    def __init__(
        self,
        *,
        path: Path,
        status: StatusView,
        supervisor: Supervisor,
        batches: BatchRoutes,
        door: FrontDoor,
        schedules: Schedules,
        ask_to_end: Callable[[str], None],
        cache: AnswerCache | None = None,
    ) -> None:
        self._path = path
        self._status = status
        self._supervisor = supervisor
        self._batches = batches
        self._door = door
        self._schedules = schedules
        self._ask_to_end = ask_to_end
        self._cache = cache
        self._routes = {
            ("GET", "/status"): self._get_status,
            ("POST", "/stop"): self._stop,
            ("POST", "/stop-engine"): self._stop_engine,
            ("GET", "/batches"): batches.list,
            ("POST", "/batches"): batches.lease,
            ("POST", "/schedules/refresh"): self._refresh_schedules,
            ("GET", "/cache"): self._get_cache,
            ("DELETE", "/cache"): self._clear_cache,
        }
        self._listener = Listener(self._answer)

    async def start(self) -> None:
        """Listen, for this user only."""
        await self._listener.start_on(bind_private(self._path))

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        await self._listener.stop(_LAST_ANSWERS_S)
        with suppress(OSError):
            self._path.unlink()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        own = self._routes.get((request.method, request.raw_path))
        if own is not None:
            return await own(request)
        if request.method == "POST" and (cancel := _CANCEL.fullmatch(request.raw_path)):
            return await self._batches.cancel(request, cancel[1])
        return await self._door.handle_owner(request)

    async def _get_status(self, _: web.BaseRequest) -> web.Response:
        return web.json_response(self._status.read())

    async def _get_cache(self, _: web.BaseRequest) -> web.Response:
        return await _answered(self._cache.content() if self._cache else None)

    async def _clear_cache(self, _: web.BaseRequest) -> web.Response:
        return await _answered(self._cache.clear() if self._cache else None)

    async def _stop(self, _: web.BaseRequest) -> web.Response:
        self._ask_to_end("costctl stop")
        return web.json_response({"stopping": True, "pid": os.getpid()})

    async def _stop_engine(self, _: web.BaseRequest) -> web.Response:
        self._supervisor.stop("costctl stop --engine")
        state = await self._supervisor.settled()
        return web.json_response({"engine": state.value})

    async def _refresh_schedules(self, _: web.BaseRequest) -> web.Response:
        await self._schedules.refresh()
        return web.json_response({"schedules": self._schedules.evidence().detail})


async def _answered(cached: Awaitable[Any] | None) -> web.Response:
    """Return what was asked of the cache; none if it is off."""
    try:
        return web.json_response({"is_on": cached is not None, "answer": await cached if cached else None})
    except AnswerStoreError as error:
        return web.json_response({"is_on": True, "error": str(error)})


def bind_private(path: Path) -> socket.socket:
    """Return a Unix socket bound at `path` with mode 0600.

    Raises:
        CostctlError: it cannot be bound there.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
    except OSError as error:
        listening.close()
        words = error.strerror or f"{error}; set COSTCTL_HOME to a shorter path"  # a path's length has no errno
        raise CostctlError(f"cannot open the control socket {path}: {words}") from error
    finally:
        os.umask(mask)
    return listening
