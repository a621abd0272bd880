"""The control socket: what the other commands ask the daemon, over HTTP on a private Unix socket."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from costctl.errors import AnswerStoreError, CostctlError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from costctl.daemon.frontdoor.caching import AnswerCache
    from costctl.daemon.status import StatusView
    from costctl.daemon.supervisor import Supervisor


class Control:
    """Serves `/status`, `/stop`, `/stop-engine` and `/cache`."""

    def __init__(
        self,
        *,
        path: Path,
        status: StatusView,
        supervisor: Supervisor,
        ask_to_end: Callable[[str], None],
        cache: AnswerCache | None = None,
    ) -> None:
        self._path = path
        self._status = status
        self._supervisor = supervisor
        self._ask_to_end = ask_to_end
        self._cache = cache
        app = web.Application()
        app.router.add_get("/status", self._get_status)
        app.router.add_post("/stop", self._stop)
        app.router.add_post("/stop-engine", self._stop_engine)
        app.router.add_get("/cache", self._get_cache)
        app.router.add_delete("/cache", self._clear_cache)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        """Listen, for this user only."""
        await self._runner.setup()
        await web.SockSite(self._runner, bind_private(self._path)).start()

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        await self._runner.cleanup()
        with suppress(OSError):
            self._path.unlink()

    async def _get_status(self, _: web.Request) -> web.Response:
        return web.json_response(self._status.read())

    async def _get_cache(self, _: web.Request) -> web.Response:
        return await _answered(self._cache.content() if self._cache else None)

    async def _clear_cache(self, _: web.Request) -> web.Response:
        return await _answered(self._cache.clear() if self._cache else None)

    async def _stop(self, _: web.Request) -> web.Response:
        self._ask_to_end("costctl stop")
        return web.json_response({"stopping": True, "pid": os.getpid()})

    async def _stop_engine(self, _: web.Request) -> web.Response:
        self._supervisor.stop("costctl stop --engine")
        state = await self._supervisor.settled()
        return web.json_response({"engine": state.value})


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
