"""A machine that slept: the pause is in no session, and what runs on is in the next one."""

from datetime import timedelta

from fakes.clock import START

from costctl.daemon.suspension import Suspensions
from costctl.domain.sessions import EndReason, Phase

NIGHT_S = 8 * 3600


async def test_a_suspended_night_is_billed_to_nobody(bench):
    suspensions = Suspensions(recorder=bench.recorder, writer=bench.writer, clock=bench.clock)
    await bench.clock.advance(600)

    bench.clock.suspend(NIGHT_S)
    await suspensions.look()
    await bench.clock.advance(300)
    bench.recorder.close_session(EndReason.STOPPED)
    await bench.settle_ledger()

    before, after = bench.ledger.sessions()
    assert (before.end_reason, before.length) == (EndReason.SUSPENDED, timedelta(seconds=600))
    assert after.started_at == START + timedelta(seconds=600 + NIGHT_S)
    assert after.length == timedelta(seconds=300)
    assert bench.ledger.check() == []


async def test_an_engine_that_lives_through_it_runs_on_in_the_next_session(bench):
    suspensions = Suspensions(recorder=bench.recorder, writer=bench.writer, clock=bench.clock)
    bench.supervisor.start()
    await bench.clock.advance(60)

    bench.clock.suspend(NIGHT_S)
    await suspensions.look()
    await bench.clock.advance(60)
    bench.recorder.close_session(EndReason.STOPPED)
    await bench.settle_ledger()

    before, after = bench.ledger.sessions()
    assert [run.outcome for run in bench.ledger.engine_runs(before.id)] == ["suspended"]
    assert [run.number for run in bench.ledger.engine_runs(after.id)] == [1]
    assert after.phases[0].phase is not Phase.OFF
    assert after.phases[0].run == 1
    assert bench.ledger.check() == []


async def test_a_stepped_wall_clock_is_no_suspension(bench):
    suspensions = Suspensions(recorder=bench.recorder, writer=bench.writer, clock=bench.clock)
    bench.clock.step_wall_clock(NIGHT_S)
    await suspensions.look()
    await bench.settle_ledger()
    assert len(bench.ledger.sessions()) == 1
