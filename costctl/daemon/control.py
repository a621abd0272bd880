"""The control socket: what the other commands ask the daemon, over HTTP on a private Unix socket."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

from costctl.errors import CostctlError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from costctl.daemon.schedules import Schedules
    from costctl.daemon.status import StatusView
    from costctl.daemon.supervisor import Supervisor


class Control:
    """Serves `GET /status`, `POST /stop`, `POST /stop-engine` and `POST /schedules/refresh`."""

    def __init__(
        self,
        *,
        path: Path,
        status: StatusView,
        supervisor: Supervisor,
        schedules: Schedules,
        ask_to_end: Callable[[str], None],
    ) -> None:
        self._path = path
        self._status = status
        self._supervisor = supervisor
        self._schedules = schedules
        self._ask_to_end = ask_to_end
        app = web.Application()
        app.router.add_get("/status", self._get_status)
        app.router.add_post("/stop", self._stop)
        app.router.add_post("/stop-engine", self._stop_engine)
        app.router.add_post("/schedules/refresh", self._refresh_schedules)
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

    async def _stop(self, _: web.Request) -> web.Response:
        self._ask_to_end("costctl stop")
        return web.json_response({"stopping": True, "pid": os.getpid()})

    async def _stop_engine(self, _: web.Request) -> web.Response:
        self._supervisor.stop("costctl stop --engine")
        state = await self._supervisor.settled()
        return web.json_response({"engine": state.value})

    async def _refresh_schedules(self, _: web.Request) -> web.Response:
        await self._schedules.refresh()
        return web.json_response({"schedules": self._schedules.evidence().detail})


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
