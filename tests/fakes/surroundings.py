"""The machine around the engine: GPUs, people, the instance, the book that runs are written in."""

from costctl.domain.gpus import GpuProcess, GpuReading
from costctl.domain.policy import Evidence
from costctl.errors import GpuError, InstanceActionError

GIB = 2**30


class FakeGpus:
    """One GPU (port Gpus); `problem` makes it unreadable."""

    def __init__(self):
        self.used = 0
        self.processes = ()
        self.problem = None
        self.reads = self.releases = 0
        self.watched = True

    def read(self):
        self.reads += 1
        if self.problem is not None:
            raise GpuError(self.problem)
        if not self.watched:
            return ()
        return (
            GpuReading(
                index=0,
                name="A10G",
                memory_used_bytes=self.used,
                memory_total_bytes=24 * GIB,
                utilisation_percent=50,
                power_milliwatts=100_000,
                processes=tuple(self.processes),
            ),
        )

    def release(self):
        self.releases += 1

    def busy(self, *pids):
        """Let these processes compute."""
        self.processes = tuple(GpuProcess(pid=pid, memory_bytes=GIB, sm_percent=80) for pid in pids)


class FakeLogins:
    """The people at the terminals (port Logins)."""

    def __init__(self):
        self.active = False
        self.problem = None

    def read(self, recent_s):
        if self.problem is not None:
            return Evidence(name="logins", active=None, detail=self.problem)
        return Evidence(name="logins", active=self.active, detail="ann typed" if self.active else "nobody")


class FakeAction:
    """What is done with the instance (port InstanceAction); fails `failures` times first."""

    promise = "pretend to stop this machine"

    def __init__(self, *, failures=0):
        self.failures = failures
        self.attempts = []
        self.on_perform = lambda: None

    async def perform(self):
        self.attempts.append(self.on_perform())
        if len(self.attempts) <= self.failures:
            raise InstanceActionError("the machine will not stop: still billed")


class FakeBook:
    """Where a run is written down (RunBook)."""

    def __init__(self):
        self.lines = []
        self.startup = None

    def run_began(self, run):
        self.lines.append(("began", run.model))

    def run_ready(self, run, startup):
        self.startup = startup
        self.lines.append(("ready",))

    def run_ended(self, run, outcome, detail):
        self.lines.append(("ended", outcome, detail))

    def tokens_worked(self, model, prompt, generation):
        self.lines.append(("tokens", model, prompt, generation))

    @property
    def tokens(self):
        """All tokens that somebody is charged with: prompt, generation."""
        worked = [line[2:] for line in self.lines if line[0] == "tokens"]
        return tuple(map(sum, zip(*worked, strict=True))) if worked else (0, 0)
