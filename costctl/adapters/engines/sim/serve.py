"""One life of the simulated engine, from the bound socket to the exit code."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, cast

from aiohttp import web

from costctl.adapters.engines.sim.engine import Engine
from costctl.adapters.engines.sim.failures import Kind
from costctl.adapters.engines.sim.last_words import ENGINE_DIED, say_api_server_failed, say_core_died
from costctl.adapters.engines.sim.server import build_app, list_routes
from costctl.adapters.engines.sim.startup import Pace, StartFailedError, Startup, announce
from costctl.adapters.engines.sim.stop import Stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.web import Server

    from costctl.adapters.engines.sim.core_process import CoreProcess
    from costctl.adapters.engines.sim.log import EngineLog
    from costctl.adapters.engines.sim.settings import Settings

BACKLOG = 2048
KEEP_ALIVE_S = 5.0
"""As vLLM's: a proxy that pools connections has to cope with it."""
LAST_WRITES_S = 0.2
"""For streams to take their error event."""
LOG_TICK_S = 0.1


async def live(settings: Settings, log: EngineLog) -> int:
    """Live one life; return the exit code."""
    with Stop.listening(settings.failures) as stop:
        try:
            with _bound(settings, log) as listener:
                await _start_and_serve(settings, log, stop, listener)
        except StartFailedError as error:
            return error.exit_code
    return 0  # also when the engine core died: that is vLLM's way


async def _start_and_serve(settings: Settings, log: EngineLog, stop: Stop, listener: socket.socket) -> None:
    startup = Startup(settings=settings, log=log, pace=Pace(total_seconds=settings.start_seconds))
    core = await stop.unless_asked(startup.run())
    if core is None:
        return
    async with AsyncExitStack() as undo:
        if Kind.LEAVE_CORE not in settings.failures:
            undo.push_async_callback(core.end)
        engine = Engine(settings, core)
        async with _listening(engine, log, listener), asyncio.TaskGroup() as aside:
            writing = aside.create_task(_fill_log(settings.log_lines_per_second, log))
            await stop.unless_asked(_outlive(core, engine, log))
            await _finish_requests(engine, log)
            writing.cancel()


async def _outlive(core: CoreProcess, engine: Engine, log: EngineLog) -> None:
    """Return some time after the engine core died; until then everything is answered with an error."""
    ordered = engine.settings.failures.number(Kind.CRASH_AFTER)
    if ordered == 0:
        core.kill()
    await core.wait()
    say_core_died(log, crashed=ordered is not None)
    engine.die()
    await asyncio.sleep(engine.settings.watchdog_seconds)


async def _finish_requests(engine: Engine, log: EngineLog) -> None:
    """Refuse new requests, wait for the running ones as long as was asked for, then break them off."""
    timeout = engine.settings.shutdown_timeout_seconds
    log.api("launcher.py:254", "[shutdown] API server: shutdown triggered")
    mode = "drain" if timeout else "abort"
    log.api("launcher.py:269", f"[shutdown] API server: stopping engine client mode={mode} timeout={timeout:.0f}s")
    engine.draining = True
    await engine.drained(timeout)
    engine.interrupt_all(ENGINE_DIED)
    await engine.drained(LAST_WRITES_S)


def _bound(settings: Settings, log: EngineLog) -> socket.socket:
    """Return a socket that holds the address but refuses connections, as vLLM's does until it is ready."""
    bound = socket.socket(_family(settings), socket.SOCK_STREAM)
    try:
        if not settings.uds:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(settings.uds or (settings.host, settings.port))
    except OSError as error:
        bound.close()
        say_api_server_failed(log, f"OSError: {error}")
        raise StartFailedError(1) from error
    return bound


def _family(settings: Settings) -> socket.AddressFamily:
    if settings.uds:
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in settings.host else socket.AF_INET


@asynccontextmanager
async def _listening(engine: Engine, log: EngineLog, bound: socket.socket) -> AsyncIterator[None]:
    """Serve HTTP on `bound`."""
    app = build_app(engine, log)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=LAST_WRITES_S,
    )
    await runner.setup()
    announce(engine.settings, log, list_routes(app))
    server = await _listen(runner, log, bound)
    try:
        yield
    finally:
        server.close()
        await runner.cleanup()
        log.raw("INFO:     Application shutdown complete.")


async def _listen(runner: web.AppRunner, log: EngineLog, bound: socket.socket) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    listen = loop.create_unix_server if bound.family is socket.AF_UNIX else loop.create_server
    try:
        return await listen(cast("Server", runner.server), sock=bound, backlog=BACKLOG)
    except OSError as error:  # another process may have bound the port as well, and listens already
        say_api_server_failed(log, f"OSError: {error}")
        raise StartFailedError(1) from error


async def _fill_log(lines_per_second: float, log: EngineLog) -> None:
    """Write that many lines a second for ever."""
    line = "Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 0.0 tokens/s, Running: 0 reqs"
    owed = 0.0
    while lines_per_second:
        await asyncio.sleep(LOG_TICK_S)
        owed += lines_per_second * LOG_TICK_S
        for _ in range(int(owed)):
            log.api("loggers.py:335", line)
        owed %= 1
