"""An engine without a process: its launcher, its processes, its HTTP side."""

import asyncio

from costctl.domain.engines import Counters, Endpoint, ExitStatus, LaunchPlan
from costctl.errors import EngineUnreadableError

ENDPOINT = Endpoint(uds="/run/costctl/engine.sock")


class FakeEngine:
    """A kind of engine (port Engine)."""

    kind = "fake"
    model = "tiny"

    def __init__(self):
        self.problem = None

    def plan(self):
        if self.problem is not None:
            raise self.problem
        return LaunchPlan(kind=self.kind, model=self.model, argv=("fake-engine",), endpoint=ENDPOINT)


class FakeProcess:
    """A running engine (port EngineProcess) that ends when told to, or not, as the test wants."""

    def __init__(self, pid, *, swallowed_terms=0, survives_kill=False, helpers_linger=False):
        loop = asyncio.get_running_loop()
        self.pid = pid
        self.exited = loop.create_future()
        self.gone = loop.create_future()
        self.swallowed_terms = swallowed_terms
        self.survives_kill = survives_kill
        self.helpers_linger = helpers_linger
        self.terms = self.kills = 0
        self._pids = frozenset({pid, pid + 1})

    def pids(self):
        return self._pids

    def terminate(self):
        self.terms += 1
        if self.terms > self.swallowed_terms:
            self.exit(code=0)

    def kill(self):
        self.kills += 1
        if not self.survives_kill:
            self.exit(signal=9)
            self.vanish()

    def exit(self, *, code=None, signal=None):
        """End the API server; its helpers go with it unless they linger."""
        if not self.exited.done():
            self.exited.set_result(ExitStatus(code=code, signal=signal))
        if not self.helpers_linger:
            self.vanish()

    def vanish(self):
        """End every process."""
        self._pids = frozenset()
        if not self.exited.done():
            self.exited.set_result(ExitStatus(signal=9))
        if not self.gone.done():
            self.gone.set_result(None)


class FakeLauncher:
    """Starts fake processes (port Launcher); `traits` are those of the next ones."""

    def __init__(self):
        self.processes = []
        self.problem = None
        self.traits = {}
        self.say = None
        self.gate = None

    @property
    def process(self):
        return self.processes[-1]

    async def launch(self, plan, on_line):
        if self.gate is not None:
            await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        self.say = on_line
        self.processes.append(FakeProcess(100 * (len(self.processes) + 1), **self.traits))
        return self.process


class FakeApi:
    """The engine's HTTP side (port EngineApi): one object for all runs, so that a test can set it up beforehand."""

    def __init__(self, launcher):
        self._launcher = launcher
        self.up = False
        self.answers = True
        self.owner = "engine"
        self.listens_on = False
        self.publishes = True
        self.problem = None
        self.running = self.waiting = self.prompt = self.generation = 0
        self.canaries = 0
        self.closed = 0
        self.gate = None

    def connect(self, plan):
        return self

    async def healthy(self):
        return self.up

    async def listening_pid(self):
        return self._launcher.process.pid if self.owner == "engine" else self.owner

    async def reachable(self):
        return self.listens_on

    async def generates(self, timeout_s):
        self.canaries += 1
        if self.answers:
            self.work(prompt=1, generation=1)
        return self.answers

    async def counters(self):
        if self.problem is not None:
            raise EngineUnreadableError(self.problem)
        found = Counters(
            running=self.running, waiting=self.waiting, prompt_tokens=self.prompt, generation_tokens=self.generation
        )
        if self.gate is not None:
            await self.gate.wait()
        return found if self.publishes else None

    async def close(self):
        self.closed += 1

    def work(self, *, prompt=0, generation=0):
        """Let the engine's counters grow."""
        self.prompt += prompt
        self.generation += generation
