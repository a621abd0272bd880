"""A daemon without its front door: a machine of fakes, a real recorder and a real ledger."""

import asyncio
from datetime import timedelta

from fakes.clock import settle
from fakes.machine import Machine

from costctl.daemon.batches import Batches
from costctl.daemon.idle import IdleWatch
from costctl.daemon.recorder import Recorder
from costctl.daemon.session import open_session
from costctl.domain.sessions import Instance
from costctl.ledger.writer import LedgerWriter

INSTANCE = Instance(machine="box", gpu="A10G", gpu_count=1)


class Bench:
    """Everything between the ports and the ledger, on a clock that stands still."""

    def __init__(self, ledger, clock, *, price=None, boot="boot/1", billed_since=None, **machine):
        self.ledger = ledger
        self.clock = clock
        self.opening = open_session(
            ledger, instance=INSTANCE, key=boot, billed_since=billed_since, price=price, clock=clock
        )
        self.writer = LedgerWriter(ledger)
        self.recorder = Recorder(writer=self.writer, opening=self.opening, clock=clock)
        self.machine = Machine(clock=clock, book=self.recorder, **machine)
        self.supervisor = self.machine.supervisor
        self.supervisor.listen(self.recorder.lifecycle_changed)
        self.shutdowns = []
        self.batches = Batches(
            supervisor=self.supervisor, recorder=self.recorder, clock=clock, shut_down=self.shutdowns.append
        )
        self.born_at = clock.monotonic()

    def watch(self, action, *, look_every_s=5.0):
        """Start the idle watch; the task is done when the daemon may end."""
        self.idle = IdleWatch(
            supervisor=self.supervisor,
            activity=self.machine.activity,
            recorder=self.recorder,
            action=action,
            settle_ledger=self.settle_ledger,
            clock=self.clock,
            look_every_s=look_every_s,
        )
        self.watching = asyncio.create_task(self.idle.until_stopped())
        return self.watching

    async def settle_ledger(self):
        assert self.writer.flush(10.0)

    def age(self):
        """How long this daemon has lived."""
        return self.clock.monotonic() - self.born_at

    async def one_request(self, seconds=0.0):
        """Send a request that takes so long once it is admitted."""
        await self.supervisor.enter()
        if seconds:
            await self.clock.advance(seconds)
        self.supervisor.leave()
        self.recorder.request_served("tiny")

    def session(self):
        """Return the session as the ledger has it now."""
        self.recorder.beat()
        return self.peek()

    def peek(self):
        assert self.writer.flush(10.0)
        assert self.writer.dropped == 0
        assert self.ledger.check() == []
        (session,) = (one for one in self.ledger.sessions() if one.id == self.opening.session_id)
        return session

    def phases(self):
        """Return the session's phases with their lengths in seconds."""
        return [(str(span.phase), span.length.total_seconds()) for span in self.session().phases]

    def decisions(self):
        assert self.writer.flush(10.0)
        return list(reversed(self.ledger.decisions(self.opening.session_id)))

    async def close(self):
        if hasattr(self, "watching"):
            self.watching.cancel()
            await asyncio.gather(self.watching, return_exceptions=True)
        for process in self.machine.launcher.processes:
            process.vanish()
        await settle()
        assert self.writer.close(10.0)


def adds_up(session):
    """Return whether the phases partition the session exactly."""
    ends = [span.ended_at for span in session.phases]
    starts = [span.started_at for span in session.phases]
    return (
        starts[0] == session.started_at
        and ends[-1] == session.known_until
        and starts[1:] == ends[:-1]
        and sum((span.length for span in session.phases), timedelta()) == session.length
    )
