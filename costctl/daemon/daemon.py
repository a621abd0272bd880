"""The daemon's life: open the door, watch, and end in order."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from costctl.domain.durations import format_duration
from costctl.domain.lifecycle import EngineState
from costctl.domain.sessions import EndReason
from costctl.errors import CostctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from costctl.daemon.control import Control
    from costctl.daemon.frontdoor.door import FrontDoor
    from costctl.daemon.frontdoor.listener import Listener
    from costctl.daemon.http_batches import HttpBatches
    from costctl.daemon.idle import IdleWatch
    from costctl.daemon.recorder import Recorder
    from costctl.daemon.schedules import Schedules
    from costctl.daemon.status import StatusView
    from costctl.daemon.supervisor import Supervisor
    from costctl.daemon.suspension import Suspensions
    from costctl.ledger.writer import LedgerWriter
    from costctl.ports import Clock

logger = logging.getLogger(__name__)

BEAT_EVERY_S = 10.0
_FLUSH_TIMEOUT_S = 10.0
_LAST_ANSWERS_S = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ServiceManager(Protocol):
    """Whoever started us and wants to know how we are."""

    watchdog_s: float | None

    def ready(self, status: str) -> None:
        """The front door is open."""
        ...

    def alive(self, status: str) -> None:
        """Still here."""
        ...

    def stopping(self, status: str, *, within_s: float) -> None:
        """On the way out."""
        ...


class Daemon:
    """Everything together; `run` returns when the daemon has ended in order."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        door: FrontDoor,
        listener: Listener,
        control: Callable[[Callable[[str], None]], Control],
        idle: IdleWatch,
        recorder: Recorder,
        http_batches: HttpBatches,
        suspensions: Suspensions,
        schedules: Schedules,
        writer: LedgerWriter,
        status: StatusView,
        manager: ServiceManager,
        clock: Clock,
        address: tuple[str, int] | None,
        explain_port: Callable[[int], str],
        eager: bool,
        stop_within_s: float,
    ) -> None:
        self._supervisor = supervisor
        self._door = door
        self._listener = listener
        self._control = control(self._ask_to_end)
        self._idle = idle
        self._recorder = recorder
        self._http_batches = http_batches
        self._suspensions = suspensions
        self._schedules = schedules
        self._writer = writer
        self._status = status
        self._manager = manager
        self._clock = clock
        self._address = address
        self._explain_port = explain_port
        self._eager = eager
        self._stop_within_s = stop_within_s
        self._wish: asyncio.Future[str] | None = None
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Serve until idleness, an order or a signal ends it.

        Raises:
            CostctlError: the front door cannot be opened.
        """
        self._wish = asyncio.get_running_loop().create_future()
        with _signals(self._ask_to_end):  # to the very end, or an impatient second signal would cut off the ledger
            try:
                await self._open()
                await self._serve(self._wish)
            finally:
                await self._end()

    def _ask_to_end(self, why: str) -> None:
        """End in order; asked a second time, end in a hurry."""
        if self._wish is None or self._wish.done():
            if not self._hurry.is_set():
                logger.warning("asked again (%s): killing the engine", why)
            self._hurry.set()
            return
        self._wish.set_result(why)

    async def _open(self) -> None:
        try:
            await self._http_batches.open()
            await self._listen()
            await self._control.start()  # last: whoever is answered there may rely on the front door
        except CostctlError:
            self._recorder.close_session(EndReason.STOPPED)
            raise
        self._manager.ready(self._status.headline())
        if self._eager:
            self._supervisor.start()

    async def _listen(self) -> None:
        if self._address is None:
            logger.info("listening on the control socket alone")
            return
        host, port = self._address
        try:
            await self._listener.start(host, port)
        except OSError as error:
            why = (
                f": {self._explain_port(port)} listens there"
                if error.errno == errno.EADDRINUSE
                else f": {error.strerror}"
            )
            raise CostctlError(f"cannot listen on {host}:{port}{why}; choose another --host or --port") from error
        logger.info("listening on http://%s:%d/v1", f"[{host}]" if ":" in host else host, port)

    async def _serve(self, wish: asyncio.Future[str]) -> None:
        tasks: set[asyncio.Future[Any]] = {
            asyncio.create_task(self._idle.until_stopped(), name="idle watch"),
            asyncio.create_task(self._beat(), name="heartbeat"),
            asyncio.create_task(self._http_batches.watch(), name="batches over HTTP"),
            asyncio.create_task(self._schedules.watch(), name="schedules"),
        }
        try:
            done, _ = await asyncio.wait({*tasks, wish}, return_when=asyncio.FIRST_COMPLETED)
            for ended in done - {wish}:
                ended.result()  # a fault in a task of ours ends the daemon loudly
            if wish.done():
                await self._stop_on_wish(wish.result())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self) -> None:
        pause = min(BEAT_EVERY_S, (self._manager.watchdog_s or BEAT_EVERY_S * 2) / 2)
        while True:
            await self._suspensions.look()
            self._recorder.beat()
            self._manager.alive(self._status.headline())
            await self._clock.sleep(pause)

    async def _stop_on_wish(self, why: str) -> None:
        state = self._supervisor.lifecycle
        self._http_batches.stop_soon()
        logger.info("stopping (%s)", why)
        self._manager.stopping(f"stopping ({why})", within_s=self._stop_within_s)
        if state.in_flight:
            logger.info("%d requests may finish (%s at most)", state.in_flight, format_duration(self._stop_within_s))
        self._supervisor.stop(why, closing=True)
        settled = asyncio.create_task(self._supervisor.settled())
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({settled, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if not settled.done():
            await self._supervisor.abandon()
        settled.cancel()
        hurry.cancel()
        self._recorder.close_session(EndReason.STOPPED)

    async def _end(self) -> None:
        await self._http_batches.close()
        await self._schedules.stop()
        await self._listener.stop(_LAST_ANSWERS_S)
        if self._supervisor.lifecycle.state not in (EngineState.OFF, EngineState.FAILED):
            await self._supervisor.abandon()
        await self._door.close()
        await self._control.stop()
        if not await asyncio.to_thread(self._writer.close, _FLUSH_TIMEOUT_S):
            logger.error("the ledger took not all records: %s", self._writer.problem)


@contextmanager
def _signals(ask_to_end: Callable[[str], None]) -> Iterator[None]:
    """Turn signals into requests to end; afterwards they are ignored, since the process is about to end anyway.

    Not the loop's own handlers: to remove one restores the default, and a signal that comes late would then make a
    clean end a violent one.
    """
    loop = asyncio.get_running_loop()

    def heard(number: int, _: FrameType | None) -> None:
        loop.call_soon_threadsafe(ask_to_end, signal.Signals(number).name)

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
            signal.signal(number, heard)
    try:
        yield
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
