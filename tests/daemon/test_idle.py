import asyncio

import pytest
from bench import Bench
from fakes.clock import settle
from fakes.surroundings import FakeAction

from costctl.daemon.supervisor import Refusal
from costctl.domain.lifecycle import EngineState
from costctl.domain.sessions import EndReason

WINDOW = 1800.0
LOOK_S = 5.0


def verdicts(bench):
    return [(decision.verdict, decision.acted) for decision in bench.decisions()]


# --- the window ------------------------------------------------------------------------------------------------------


async def test_an_instance_that_was_never_used_is_stopped_exactly_at_the_end_of_the_window(bench):
    action = FakeAction()
    action.on_perform = bench.age
    watching = bench.watch(action)
    await bench.clock.advance(WINDOW - 0.1)
    assert action.attempts == []
    await bench.clock.advance(0.2)
    assert watching.done()
    assert action.attempts == [WINDOW]


async def test_the_engine_is_stopped_first_and_then_the_instance(bench):
    action = FakeAction()
    action.on_perform = lambda: (bench.supervisor.lifecycle.state, bench.peek().end_reason)
    bench.watch(action)
    await bench.machine.get_ready()
    await bench.clock.advance(WINDOW)
    assert bench.machine.process.terms == 1
    assert action.attempts == [(EngineState.OFF, EndReason.IDLE)], "the ledger is settled before the power goes"


async def test_the_window_begins_with_the_last_byte_of_the_last_request(bench):
    action = FakeAction()
    action.on_perform = bench.age
    bench.watch(action)
    bench.machine.api.up = True
    await bench.clock.advance(1000)
    await bench.one_request(500)
    await bench.clock.advance(WINDOW + 10)
    assert action.attempts == [1500 + WINDOW]


async def test_without_a_window_nothing_is_ever_stopped(inline_threads, clock, ledger):
    bench = Bench(ledger, clock, window_s=None)
    action = FakeAction()
    bench.watch(action, look_every_s=3600.0)
    await bench.clock.advance(30 * 86400)
    assert action.attempts == []
    await bench.close()


async def test_the_stop_is_announced_in_the_grace_once(bench, caplog):
    caplog.set_level("INFO")
    bench.watch(FakeAction())
    await bench.clock.advance(WINDOW - 60 - 5.1)
    assert "unless work arrives" not in caplog.text
    await bench.clock.advance(WINDOW)
    assert caplog.text.count("unless work arrives") == 1
    assert verdicts(bench) == [("warn", False), ("stop", True)]


# --- work that comes late --------------------------------------------------------------------------------------------


async def test_work_in_the_grace_cancels_the_stop(bench, caplog):
    caplog.set_level("INFO")
    action = FakeAction()
    bench.watch(action)
    await bench.machine.get_ready()
    await bench.clock.advance(WINDOW - 30)
    await bench.one_request(5)
    await bench.clock.advance(WINDOW - 100)
    assert action.attempts == []
    assert bench.machine.state is EngineState.READY
    assert "idle: the stop is cancelled" in caplog.text
    assert verdicts(bench) == [("warn", False), ("keep", False)]


async def test_every_signal_is_read_anew_just_before_anything_is_stopped(bench):
    action = FakeAction()
    bench.watch(action)
    await bench.clock.advance(WINDOW - 1)
    bench.machine.gpus.busy(4242)  # not watched while the engine is off, but looked at before the stop
    await bench.clock.advance(10)
    assert action.attempts == []
    last = bench.decisions()[-1]
    assert (last.verdict, last.acted, last.reason) == ("keep", False, "other GPU programs: process 4242 at 80 %")
    assert last.signals["other GPU programs"] == {"active": True, "detail": "process 4242 at 80 %"}


async def test_a_login_keeps_the_instance_up_and_the_window_begins_when_it_is_quiet(bench):
    action = FakeAction()
    action.on_perform = bench.age
    bench.watch(action)
    bench.machine.logins.active = True
    await bench.clock.advance(2 * WINDOW)
    bench.machine.logins.active = False
    await bench.clock.advance(2 * WINDOW)
    (stopped_at,) = action.attempts
    assert 3 * WINDOW <= stopped_at <= 3 * WINDOW + LOOK_S, "a window after the look that found it quiet"


async def test_work_of_the_engines_own_keeps_it_up(bench):
    action = FakeAction()
    bench.watch(action)
    await bench.machine.get_ready()
    await bench.clock.advance(WINDOW - 20)
    bench.machine.api.running = 1
    await bench.clock.advance(WINDOW)
    assert (action.attempts, bench.machine.state) == ([], EngineState.READY)


async def test_an_engine_that_dies_at_its_own_work_does_not_keep_the_instance_up_for_ever(bench):
    action = FakeAction()
    action.on_perform = bench.age
    bench.watch(action)
    await bench.machine.get_ready()
    bench.machine.api.running = 1
    await bench.clock.advance(60)
    bench.machine.process.exit(signal=9)
    await bench.clock.advance(2 * WINDOW)
    assert len(action.attempts) == 1


async def test_a_request_while_the_engine_is_being_stopped_cancels_the_stop_of_the_instance(bench):
    action = FakeAction()
    bench.machine.launcher.traits = {"swallowed_terms": 2}
    bench.watch(action)
    await bench.machine.get_ready()
    await bench.clock.advance(WINDOW + 1)
    assert bench.machine.state is EngineState.STOPPING
    bench.machine.launcher.traits = {}
    request = asyncio.create_task(bench.one_request())
    await bench.clock.advance(10)
    await request
    assert bench.machine.state is EngineState.READY
    assert (len(bench.machine.launcher.processes), action.attempts) == (2, [])
    await bench.clock.advance(WINDOW + 10)
    assert len(action.attempts) == 1


async def test_a_start_that_fails_does_not_take_the_instance_with_it(bench):
    """Somebody was there a moment ago: they get a whole window to try again."""
    action = FakeAction()
    bench.watch(action)
    await bench.clock.advance(WINDOW - 100)
    request = asyncio.create_task(bench.supervisor.enter())
    await bench.clock.advance(200)
    bench.machine.process.exit(code=1)
    with pytest.raises(Refusal):
        await request
    await bench.clock.advance(WINDOW - 10)
    assert action.attempts == []
    await bench.clock.advance(20)
    assert len(action.attempts) == 1


# --- signals that cannot be read -------------------------------------------------------------------------------------


async def test_a_gpu_that_cannot_be_read_keeps_the_instance_up_to_the_cap_and_no_longer(bench):
    action = FakeAction()
    action.on_perform = bench.age
    bench.machine.gpus.problem = "NVML: Driver/library version mismatch"
    bench.watch(action)
    await bench.clock.advance(WINDOW + 7100)
    assert action.attempts == []
    assert len(bench.decisions()) < 5, "one decision a turn of events, not one a look"
    await bench.clock.advance(2 * WINDOW)
    assert action.attempts == [WINDOW + 7200 + WINDOW]


async def test_a_gpu_that_can_be_read_again_no_longer_keeps_the_instance_up(bench):
    action = FakeAction()
    bench.machine.gpus.problem = "NVML: Driver/library version mismatch"
    bench.watch(action)
    await bench.clock.advance(WINDOW + 600)
    assert action.attempts == []
    bench.machine.gpus.problem = None
    await bench.clock.advance(20)
    assert len(action.attempts) == 1


# --- the action ------------------------------------------------------------------------------------------------------


async def test_a_failing_action_is_tried_again_after_pauses_that_grow(bench):
    action = FakeAction(failures=6)
    action.on_perform = bench.age
    bench.watch(action)
    await bench.clock.advance(WINDOW + 3600)
    pauses = [later - earlier for earlier, later in zip(action.attempts, action.attempts[1:], strict=False)]
    assert pauses == pytest.approx([60, 120, 240, 480, 900, 900], abs=5)
    assert bench.watching.done()


async def test_while_the_action_fails_requests_are_served_and_the_session_goes_on(bench):
    action = FakeAction(failures=1)
    bench.watch(action)
    bench.machine.api.up = True
    await bench.clock.advance(WINDOW + 10)
    assert len(action.attempts) == 1
    assert bench.session().ended_at is None
    await bench.one_request(5)
    assert bench.machine.state is EngineState.READY
    await bench.clock.advance(WINDOW)
    assert len(action.attempts) == 2, "and a whole window after that it is tried again"
    assert bench.peek().end_reason is EndReason.IDLE


async def test_requests_are_refused_while_the_instance_is_being_stopped(bench):
    action = FakeAction()
    refused = []

    class Slow(FakeAction):
        async def perform(self):
            with pytest.raises(Refusal) as caught:
                await bench.supervisor.enter()
            refused.append(caught.value.code)
            await action.perform()

    bench.watch(Slow())
    await bench.clock.advance(WINDOW)
    assert (refused, bench.machine.launcher.processes) == (["shutting_down"], [])


async def test_a_stuck_engine_does_not_keep_the_instance_up(bench):
    action = FakeAction()
    bench.machine.launcher.traits = {"swallowed_terms": 99, "survives_kill": True}
    bench.watch(action)
    await bench.machine.get_ready()
    await bench.clock.advance(WINDOW + 120)
    assert (bench.machine.state, len(action.attempts)) == (EngineState.STUCK, 1)


# --- unload ----------------------------------------------------------------------------------------------------------


async def test_unload_stops_the_engine_and_never_ends_the_daemon(bench):
    watching = bench.watch(None)
    await bench.machine.get_ready()
    await bench.clock.advance(WINDOW + 1)
    assert bench.machine.state is EngineState.OFF
    await bench.clock.advance(5 * WINDOW)
    assert not watching.done()
    assert verdicts(bench) == [("warn", False), ("stop", True)]
    await bench.one_request(1)
    await bench.clock.advance(WINDOW + 10)
    assert (bench.machine.state, len(bench.machine.launcher.processes)) == (EngineState.OFF, 2)


async def test_unload_says_nothing_about_an_engine_that_is_off(bench, caplog):
    caplog.set_level("INFO")
    bench.watch(None)
    await bench.clock.advance(3 * WINDOW)
    assert caplog.text == ""


async def test_a_short_window_is_met_exactly_too(inline_threads, clock, ledger):
    bench = Bench(ledger, clock, window_s=2.0)
    action = FakeAction()
    action.on_perform = bench.age
    bench.watch(action, look_every_s=0.4)
    await bench.clock.advance(3)
    assert action.attempts == [pytest.approx(2.0, abs=0.06)]
    await settle()
    await bench.close()


async def test_a_stuck_engine_that_goes_while_the_instance_is_being_stopped_leaves_the_ledger_whole(bench):
    action = FakeAction(failures=1)
    bench.machine.launcher.traits = {"swallowed_terms": 99, "survives_kill": True}

    class Slow(FakeAction):
        async def perform(self):
            bench.machine.process.vanish()
            await bench.clock.sleep(20)
            await action.perform()

    bench.watch(Slow())
    await bench.machine.get_ready()
    await bench.clock.advance(WINDOW + 120)
    assert (bench.machine.state, len(action.attempts)) == (EngineState.OFF, 1)
    phases = bench.phases()
    assert [name for name, _ in phases] == ["idle", "stopping", "unknown", "off"]
    assert phases[2][1] == 20.0
