"""The conduct of a run: a scripted daemon on the other end of the lease, and a runner that only obeys."""

import asyncio

import pytest
from fakes.clock import FakeClock, settle

from costctl.batch.conduct import Conduct, How
from costctl.batch.lease import Told
from costctl.batch.sender import AwayError
from costctl.batch.tally import Tally
from costctl.domain.batches import Progress, Then, Wish
from costctl.errors import RefusedError


def running(**told):
    return Told(**({"state": "running", "engine": "ready"} | told))


class Lease:
    """Tells what is put into it; an exception is raised instead."""

    def __init__(self, wish):
        self.wish = wish
        self.reports = []
        self.ended = None
        self.telling = asyncio.Queue()

    async def told(self):
        while (told := await self.telling.get()) is not None:
            if isinstance(told, Exception):
                raise told
            yield told

    def report(self, progress):
        self.reports.append(progress)

    def through(self, progress, *, complete, then):
        self.ended = (progress, complete, then)
        self.telling.put_nowait(Told(state="ended", reason="done" if then else ""))
        self.telling.put_nowait(None)

    def close(self):
        pass


class Runner:
    def __init__(self):
        self.over = asyncio.Event()
        self.heard_states = []
        self.stops = 0

    async def run(self, *, patience_s):
        await self.over.wait()

    def heard(self, told):
        self.heard_states.append(told.state)

    def stop(self):
        self.stops += 1
        self.over.set()


class Bench:
    def __init__(self, **wish):
        self.clock = FakeClock()
        self.leases = []
        self.runner = Runner()
        self.tally = Tally()
        self.shown = []
        self.conduct = Conduct(
            open_lease=self._open,
            wish=Wish(**({"name": "jobs", "lines": 100} | wish)),
            runner=self.runner,
            tally=self.tally,
            clock=self.clock,
            away_patience_s=120.0,
            show=self.shown.append,
        )
        self.away = None
        self.task = asyncio.create_task(self.conduct.run(patience_s=5.0))

    def _open(self, wish):
        self.leases.append(Lease(wish))
        if self.away is not None:
            self.leases[-1].telling.put_nowait(self.away)
        return self.leases[-1]

    async def tell(self, *told):
        await settle()
        for each in told:
            self.leases[-1].telling.put_nowait(each)
        await settle()

    async def end(self, *, then=False):
        """How it ended."""
        await settle()
        end = await asyncio.wait_for(self.task, 5)
        await self.conduct.close(complete=True, then=then)
        return end


async def test_progress_goes_out_whenever_the_daemon_says_something():
    bench = Bench(then=Then.UNLOAD)
    await bench.tell(Told(state="queued", place=1), running())
    bench.tally.requests, bench.tally.failed = 40, 2
    await bench.tell(running())
    assert bench.leases[0].reports == [Progress(), Progress(requests=40, failed=2)]
    assert bench.runner.heard_states == ["queued", "running", "running"]
    bench.runner.over.set()
    assert (await bench.end(then=True)).how is How.THROUGH
    assert bench.leases[0].ended == (Progress(requests=40, failed=2), True, True)
    assert bench.conduct.last_words == "done"


async def test_a_daemon_that_comes_back_is_asked_for_what_is_left_and_costs_are_added():
    bench = Bench()
    bench.tally.requests = 0
    await bench.tell(running(cost_micros=500, currency="CNY"))
    bench.tally.requests = 30
    await bench.tell(AwayError("reset"))
    await bench.clock.advance(1.0)
    await bench.tell(running(cost_micros=70, currency="CNY"), running(cost_micros=90, currency="CNY"))
    assert [lease.wish.lines for lease in bench.leases] == [100, 70]
    assert bench.leases[1].reports == [Progress(), Progress()]
    assert bench.conduct.spent == {"CNY": 590}
    bench.runner.over.set()
    await bench.end()
    assert bench.conduct.spent == {"CNY": 590}


async def test_a_daemon_that_stays_away_ends_the_run():
    bench = Bench()
    await bench.tell(running())
    bench.away = AwayError("no socket")
    await bench.tell(AwayError("reset"))
    await bench.clock.advance(119)
    assert not bench.runner.stops
    await bench.clock.advance(3)
    end = await bench.end()
    assert (end.how, end.why) == (How.AWAY, "the daemon has been away for 2m (no socket)")


async def test_what_is_wished_for_cannot_be_done_by_a_daemon_that_is_away_and_that_is_said():
    bench = Bench(then=Then.SHUTDOWN)
    bench.away = AwayError("no socket")
    await bench.tell(AwayError("reset"))
    bench.runner.over.set()
    await settle()
    closing = asyncio.create_task(bench.conduct.close(complete=True, then=True))
    await bench.clock.advance(10)
    await closing
    assert bench.conduct.last_words == "the daemon is away, so --then shutdown was not done"


async def test_a_daemon_that_refuses_ends_the_run_with_its_words():
    bench = Bench()
    await bench.tell(RefusedError("not here"))
    with pytest.raises(RefusedError, match="not here"):
        await bench.end()
    await bench.conduct.close(complete=False, then=False)


async def test_an_engine_that_does_not_start_three_times_in_a_row_is_given_up():
    bench = Bench()
    for failures in (1, 1, 2, 3):  # one was there before this batch
        told = running(engine="failed", failures=failures, failed_starts=failures, failure="out of memory")
        await bench.tell(told)
    assert not bench.runner.stops
    await bench.tell(running(engine="stopping", failures=4, failed_starts=4, failure="out of memory"))
    end = await bench.end()
    assert (end.how, end.why) == (How.NO_ENGINE, "out of memory")


async def test_an_engine_that_starts_but_breaks_before_it_answers_is_given_up_later():
    bench = Bench()
    for failures in range(8):
        await bench.tell(running(failures=failures), running(engine="failed", failures=failures, failure="a crash"))
    assert not bench.runner.stops
    await bench.tell(running(engine="failed", failures=8, failure="a crash"))
    assert (await bench.end()).how is How.NO_ENGINE


async def test_an_engine_that_is_killed_again_and_again_is_not_given_up_as_long_as_lines_are_answered():
    bench = Bench()
    for failures in range(20):
        bench.tally.requests += 1
        await bench.tell(running(failures=failures), running(engine="failed", failures=failures))
    assert not bench.runner.stops
    bench.runner.over.set()
    assert (await bench.end()).how is How.THROUGH


async def test_an_engine_that_does_not_end_is_given_up():
    bench = Bench()
    await bench.tell(running(engine="stuck"))
    assert (await bench.end()).how is How.NO_ENGINE


async def test_a_cancelled_batch_ends_with_the_reason():
    bench = Bench()
    await bench.tell(running(), Told(state="cancelled", reason="costctl batch cancel"))
    end = await bench.end()
    assert (end.how, end.why) == (How.CANCELLED, "costctl batch cancel")


async def test_an_interruption_comes_before_what_follows_from_it():
    bench = Bench()
    await bench.tell(running())
    bench.conduct.interrupt()
    bench.conduct.interrupt()
    await bench.tell(running())
    assert bench.shown[-1].state == "stopping"
    await bench.tell(Told(state="cancelled", reason="late"))
    assert (await bench.end()).how is How.INTERRUPTED
    assert bench.runner.stops == 3
