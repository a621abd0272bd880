"""A whole machine of fakes around a real supervisor and real engine runs."""

from costctl.daemon.activity import Activity
from costctl.daemon.run import EngineRun, Limits
from costctl.daemon.supervisor import Supervisor
from costctl.domain.policy import IdlePolicy
from fakes.clock import FakeClock, settle
from fakes.engine import FakeApi, FakeEngine, FakeLauncher
from fakes.surroundings import FakeBook, FakeGpus, FakeLogins

LIMITS = Limits(start_s=600.0, drain_s=60.0, stop_s=30.0, stall_s=300.0)


class Machine:
    """Everything that a daemon has below its front door, on a clock that stands still."""

    def __init__(self, *, clock=None, book=None, window_s=1800.0, limits=LIMITS, most_waiting=100, earlier_starts_s=()):
        self.clock = clock or FakeClock()
        self.engine = FakeEngine()
        self.launcher = FakeLauncher()
        self.api = FakeApi(self.launcher)
        self.gpus = FakeGpus()
        self.logins = FakeLogins()
        self.book = book or FakeBook()
        self.limits = limits
        self.earlier_starts_s = earlier_starts_s
        self.log = []
        self.events = []
        policy = IdlePolicy(window_s=window_s, grace_s=60.0, unreadable_cap_s=7200.0)
        self.supervisor = Supervisor(clock=self.clock, new_run=self._new_run, policy=policy, most_waiting=most_waiting)
        self.activity = Activity(
            supervisor=self.supervisor, gpus=self.gpus, logins=self.logins, clock=self.clock, recent_s=10.0
        )

    def _new_run(self, report):
        def reported(event):
            self.events.append(type(event).__name__)
            report(event)

        return EngineRun(
            engine=self.engine,
            launcher=self.launcher,
            connect=self.api.connect,
            gpus=self.gpus,
            clock=self.clock,
            book=self.book,
            limits=self.limits,
            log_line=self.log.append,
            earlier_starts_s=self.earlier_starts_s,
            lifecycle=lambda: self.supervisor.lifecycle,
            report=reported,
        )

    @property
    def state(self):
        return self.supervisor.lifecycle.state

    @property
    def run(self):
        return self.supervisor.run

    @property
    def process(self):
        return self.launcher.process

    async def get_ready(self):
        """Start the engine and see it ready."""
        self.api.up = True
        self.supervisor.start()
        await settle()

    async def pass_time(self, seconds):
        await self.clock.advance(seconds)
