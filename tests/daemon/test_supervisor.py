import asyncio
from contextlib import contextmanager

import pytest
from fakes.clock import InlineThreads, TickingClock, settle
from fakes.machine import Machine
from hypothesis import given, settings
from hypothesis import strategies as st

from costctl.daemon.supervisor import Refusal
from costctl.domain.lifecycle import EngineAnswered, EngineState
from costctl.domain.policy import Choice, Evidence


def enter(machine):
    return asyncio.create_task(machine.supervisor.enter())


def numbers(machine):
    return machine.supervisor.lifecycle.waiting, machine.supervisor.lifecycle.in_flight


async def refusal(request):
    with pytest.raises(Refusal) as caught:
        await request
    return caught.value


# --- many requests, one engine ---------------------------------------------------------------------------------------


async def test_any_number_of_requests_share_one_start(machine):
    requests = [enter(machine) for _ in range(50)]
    await settle()
    assert numbers(machine) == (50, 0)
    machine.api.up = True
    await machine.pass_time(1)
    plans = await asyncio.gather(*requests)
    assert numbers(machine) == (0, 50)
    assert len(machine.launcher.processes) == 1
    assert {plan.model for plan in plans} == {"tiny"}


async def test_a_ready_engine_takes_a_request_at_once(machine):
    await machine.get_ready()
    await machine.supervisor.enter()
    assert numbers(machine) == (0, 1)
    machine.supervisor.leave()
    assert numbers(machine) == (0, 0)


async def test_the_start_goes_on_when_all_clients_have_left(machine):
    request = enter(machine)
    await settle()
    request.cancel()
    await settle()
    assert (machine.state, numbers(machine)) == (EngineState.STARTING, (0, 0))
    machine.api.up = True
    await machine.pass_time(1)
    assert machine.state is EngineState.READY


async def test_a_request_during_the_stop_gets_the_next_engine(machine):
    await machine.get_ready()
    await machine.supervisor.enter()
    machine.supervisor.stop("costctl stop")
    late = enter(machine)
    await settle()
    assert (machine.state, numbers(machine)) == (EngineState.STOPPING, (1, 1))
    machine.supervisor.leave()
    await machine.pass_time(1)
    await late
    assert (machine.state, len(machine.launcher.processes)) == (EngineState.READY, 2)


# --- clients that leave ----------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_in_the_moment_of_its_admission_is_not_counted_for_ever(machine):
    request = enter(machine)
    await settle()
    machine.supervisor._step_from_run(life_answered())
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert numbers(machine) == (0, 0)


async def test_a_client_that_left_just_before_the_admission_is_not_counted_for_ever(machine):
    request = enter(machine)
    await settle()
    request.cancel()  # the request itself has not noticed yet
    machine.supervisor._step_from_run(life_answered())
    with pytest.raises(asyncio.CancelledError):
        await request
    assert numbers(machine) == (0, 0)


async def test_a_client_that_left_just_before_a_refusal_is_not_counted_either(machine):
    request = enter(machine)
    await settle()
    request.cancel()
    machine.supervisor.stop("costctl stop")
    with pytest.raises(asyncio.CancelledError):
        await request
    assert numbers(machine) == (0, 0)


def life_answered():
    return EngineAnswered()


moves = st.lists(
    st.sampled_from(["enter", "cancel one", "leave", "answer", "break", "stop", "run on", "time"]), max_size=30
)


@settings(max_examples=300, deadline=None)
@given(moves)
def test_whatever_clients_and_engine_do_the_numbers_are_right(sequence):
    asyncio.run(play(sequence))


async def play(sequence):  # noqa: C901 - one arm a move
    asyncio.get_running_loop().set_default_executor(InlineThreads())
    machine, requests, admitted = Machine(), [], 0
    machine.gpus.watched = False
    machine.api.up = True
    for move in sequence:
        match move:
            case "enter":
                requests.append(enter(machine))
            case "cancel one" if requests:
                requests[len(requests) // 2].cancel()
            case "leave" if admitted:
                machine.supervisor.leave()
                admitted -= 1
            case "answer":
                machine.api.up = True
            case "break" if machine.launcher.processes:
                machine.process.exit(code=1)
            case "stop":
                machine.supervisor.stop("test")
            case "run on":
                await asyncio.sleep(0)
            case "time":
                await machine.pass_time(3)
        entered = [request for request in requests if request.done() and not request.cancelled()]
        admitted += sum(request.exception() is None for request in entered)
        requests = [request for request in requests if not request.done()]
    machine.supervisor.stop("the end", closing=True)
    for request in requests:
        request.cancel()
    results = await asyncio.gather(*requests, return_exceptions=True)
    admitted += sum(not isinstance(result, BaseException) for result in results)
    assert numbers(machine) == (0, admitted)
    for _ in range(admitted):
        machine.supervisor.leave()
    await machine.pass_time(10)
    assert machine.state in (EngineState.OFF, EngineState.FAILED)


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_a_full_queue_is_told_when_the_engine_will_be_there():
    machine = Machine(most_waiting=1, earlier_starts_s=(100.0, 120.0, 500.0))
    machine.gpus.watched = False
    first = enter(machine)
    await settle()
    await machine.pass_time(20)
    refused = await refusal(enter(machine))
    assert (refused.code, refused.retry_after_s) == ("queue_full", 100.0)
    assert refused.message == "1 requests already wait for the engine"
    machine.supervisor.stop("the end")
    await refusal(first)
    await machine.pass_time(1)


async def test_those_who_waited_for_a_failed_start_are_told_the_reason_and_when_to_come_again(machine):
    requests = [enter(machine), enter(machine)]
    await settle()
    machine.launcher.say("ValueError: Free memory on device is less than desired")
    machine.process.exit(code=1)
    await settle()
    for request in requests:
        refused = await refusal(request)
        assert refused.code == "engine_failed"
        assert refused.retry_after_s == 2.0
        assert "it may start again in 2s" in refused.message


async def test_a_request_during_the_backoff_is_told_the_same(machine):
    machine.supervisor.start()
    await settle()
    machine.process.exit(code=1)
    await settle()
    assert machine.state is EngineState.FAILED
    await machine.pass_time(0.5)
    refused = await refusal(machine.supervisor.enter())
    assert (refused.code, refused.retry_after_s) == ("engine_failed", 1.5)


async def test_a_full_queue_behind_a_stopping_engine_is_a_full_queue_not_a_failure():
    machine = Machine(most_waiting=1)
    machine.gpus.watched = False
    await machine.get_ready()
    await machine.supervisor.enter()
    machine.supervisor.stop("idle for 30m")
    waiting = enter(machine)
    await settle()
    assert (await refusal(enter(machine))).code == "queue_full"
    waiting.cancel()
    machine.supervisor.leave()
    await machine.pass_time(1)


async def test_a_closing_daemon_says_so(machine):
    machine.supervisor.stop("idle", closing=True)
    assert (await refusal(machine.supervisor.enter())).code == "shutting_down"
    machine.supervisor.reopen()
    request = enter(machine)
    await settle()
    assert machine.state is EngineState.STARTING
    request.cancel()


async def test_a_stuck_engine_says_what_is_left(machine):
    machine.launcher.traits = {"survives_kill": True, "swallowed_terms": 99}
    await machine.get_ready()
    machine.supervisor.stop("idle")
    await machine.pass_time(60)
    refused = await refusal(machine.supervisor.enter())
    assert refused.code == "engine_stuck"
    assert "processes that even SIGKILL did not end: 100, 101" in refused.message


def test_a_refusal_can_pass_through_a_context_manager():
    @contextmanager
    def around():
        yield

    with pytest.raises(Refusal), around():
        raise Refusal("queue_full", "too many", 1.0)


# --- idleness and orders ---------------------------------------------------------------------------------------------


async def test_verdict_and_stop_are_one_step(machine):
    await machine.get_ready()
    await machine.pass_time(1800)
    if machine.supervisor.consider(()).choice is Choice.STOP:
        machine.supervisor.stop("idle", closing=True)
    assert (await refusal(machine.supervisor.enter())).code == "shutting_down"


async def test_a_signal_seen_active_is_the_reason_even_on_a_clock_that_goes_on(inline_threads):
    machine = Machine(clock=TickingClock())
    seen = Evidence(name="logins", active=True, detail="ann typed")
    assert machine.supervisor.consider([seen]).reason == "logins: ann typed"


async def test_settled_waits_for_the_start_to_end(machine):
    machine.supervisor.start()
    settled = asyncio.create_task(machine.supervisor.settled())
    await settle()
    assert not settled.done()
    machine.api.up = True
    await machine.pass_time(1)
    assert await settled is EngineState.READY


async def test_listeners_hear_of_every_change_in_order(machine):
    heard = []
    machine.supervisor.listen(lambda before, after: heard.append((before.state, after.state)))
    await machine.get_ready()
    machine.supervisor.stop("test")
    await machine.pass_time(5)
    changes = [after for before, after in heard if before is not after]
    assert changes == [EngineState.STARTING, EngineState.READY, EngineState.STOPPING, EngineState.OFF]


async def test_an_abandoned_engine_is_killed_at_once(machine):
    await machine.get_ready()
    await machine.supervisor.enter()
    await machine.supervisor.abandon()
    assert (machine.process.terms, machine.process.kills, machine.state) == (0, 1, EngineState.OFF)


async def test_an_engine_abandoned_before_its_process_exists_is_killed_when_it_does(machine):
    machine.launcher.gate = asyncio.Event()
    machine.supervisor.start()
    await settle()
    abandoned = asyncio.create_task(machine.supervisor.abandon())
    await settle()
    machine.launcher.gate.set()
    await abandoned
    assert (machine.process.terms, machine.process.kills) == (0, 1)


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), RuntimeError("a fault of ours")])
async def test_a_fault_on_our_side_fails_the_start_and_releases_who_waits(machine, problem):
    machine.engine.problem = problem
    refused = await refusal(machine.supervisor.enter())
    assert refused.code == "engine_failed"
    assert str(problem) in refused.message
    await settle()
    assert machine.state is EngineState.FAILED


async def test_a_fault_while_the_end_is_proved_is_an_alarm_not_a_silence(machine, caplog):
    await machine.get_ready()
    machine.gpus.read = lambda: 1 / 0
    machine.supervisor.stop("idle")
    await settle()
    assert machine.state is EngineState.STUCK
    assert "ZeroDivisionError" in machine.supervisor.lifecycle.reason
    assert "could not be followed" in caplog.text
