"""A front door on a real port, in this process, before an engine that each test scripts byte by byte."""

import asyncio
import time
from contextlib import asynccontextmanager

import aiohttp
from scripted_engine import MODEL
from wire import PATIENCE_S, Wire, until

from costctl.daemon.frontdoor.door import FrontDoor
from costctl.daemon.frontdoor.keys import ApiKeys
from costctl.daemon.frontdoor.listener import Listener
from costctl.daemon.frontdoor.own import OwnRoutes
from costctl.daemon.supervisor import Supervisor
from costctl.domain import lifecycle as life
from costctl.domain.policy import IdlePolicy

QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


class RealClock:
    """Only what the supervisor asks of a clock."""

    monotonic = staticmethod(time.monotonic)


class ScriptedRun:
    """A run whose process exists in the test's mind only; it is where `plan` says."""

    def __init__(self, plan, report):
        self.plan = plan
        self.usual_s = None
        self.tail = ["Traceback (most recent call last):", "ValueError: these were its last words"]
        self.ready_at = None
        self._report = report
        self._answered, self._over = asyncio.Event(), asyncio.Event()

    def begin(self):
        """There is nothing to plan."""

    async def live(self):
        ready, over = asyncio.create_task(self._answered.wait()), asyncio.create_task(self._over.wait())
        await asyncio.wait({ready, over}, return_when=asyncio.FIRST_COMPLETED)
        if self._answered.is_set():
            self.ready_at = time.monotonic()
            self._report(life.EngineAnswered())
        await over
        ready.cancel()
        self._report(life.EngineGone())

    def get_ready(self):
        self._answered.set()

    def break_down(self, reason):
        self._report(life.EngineBroke(reason))

    def end(self, *, drained):
        if drained:
            self._over.set()

    def kill(self):
        self._over.set()

    def remaining_s(self):
        return self.usual_s


class Served:
    """The book: which models' requests were answered."""

    def __init__(self):
        self.models = []

    def request_served(self, model):
        self.models.append(model)


class Door:
    """Everything around one front door."""

    def __init__(
        self,
        plan,
        *,
        most_waiting=4096,
        most_body=2**22,
        keys=(),
        warm=True,
        limits=None,
        heads=None,
        shelf=None,
        cache=None,
    ):
        self.plan, self.warm, self.shelf = plan, warm, shelf
        self.runs = []
        self.served = Served()
        policy = IdlePolicy(window_s=60, grace_s=1, unreadable_cap_s=60)
        self.supervisor = Supervisor(clock=RealClock(), new_run=self._new_run, policy=policy, most_waiting=most_waiting)
        own = OwnRoutes(supervisor=self.supervisor, model=MODEL, started_at=1)
        self.door = FrontDoor(
            supervisor=self.supervisor,
            keys=ApiKeys(keys),
            book=self.served,
            own=own.answer,
            stored=self._stored,
            most_body=most_body,
            cache=cache,
            **(limits or {}),
        )
        self.listener = Listener(self.door.handle, **(heads or {}))
        self.port = 0

    async def _stored(self, request):
        return await self.shelf.answer(request)

    def _new_run(self, report):
        run = ScriptedRun(self.plan, report)
        self.runs.append(run)
        if self.warm:
            run.get_ready()
        return run

    @property
    def state(self):
        return self.supervisor.lifecycle

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def open(self):
        await self.listener.start("127.0.0.1", 0)
        self.port = self.listener.port

    async def start_engine(self):
        self.supervisor.start()
        await self.supervisor.settled()

    async def close(self):
        await self.listener.stop(0.2)
        await self.door.close()
        await self.supervisor.abandon()

    async def quiet(self):
        """Return when no request is with the engine or waits for it."""
        await until(lambda: not (self.state.in_flight or self.state.waiting), f"nothing in flight: {self.state}")

    @asynccontextmanager
    async def raw(self):
        """A connection to write bytes to."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        wire = Wire(reader, writer)
        try:
            yield wire
        finally:
            wire.leave()

    def session(self, **options):
        return aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(total=PATIENCE_S), **options)
