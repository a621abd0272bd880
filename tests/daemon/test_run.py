import asyncio

import pytest
from fakes.clock import settle
from fakes.machine import LIMITS, Machine
from fakes.surroundings import GIB, GpuProcess

from costctl.daemon.run import Limits
from costctl.domain.lifecycle import EngineState
from costctl.errors import EngineStartError, MissingPieceError

HAPPY = [("began", "tiny"), ("ready",), ("ended", "stopped", None)]


def reason(machine):
    return machine.supervisor.lifecycle.reason


async def start(machine):
    """Launch the engine, which does not answer yet."""
    machine.supervisor.start()
    await settle()


async def one_request(machine):
    await machine.supervisor.enter()


# --- a life without trouble ------------------------------------------------------------------------------------------


async def test_a_happy_life_is_written_down_and_leaves_nothing(machine):
    await machine.get_ready()
    machine.supervisor.stop("idle")
    await settle()
    assert machine.book.lines == HAPPY
    assert machine.events == ["EngineAnswered", "EngineGone"]
    assert (machine.process.terms, machine.process.kills, machine.api.closed) == (1, 0, 1)
    assert machine.supervisor.last_run.note is None


async def test_the_engine_is_ready_when_it_has_given_a_real_answer(machine):
    await start(machine)
    await machine.pass_time(120)
    assert (machine.state, machine.api.canaries) == (EngineState.STARTING, 0)
    machine.api.up = True
    await machine.pass_time(0.25)
    assert (machine.state, machine.api.canaries) == (EngineState.READY, 1)


async def test_the_phases_of_the_start_add_up_to_its_time(machine):
    await start(machine)
    await machine.pass_time(10)
    machine.launcher.say("INFO Starting to load model tiny...")
    await machine.pass_time(5)
    machine.launcher.say("INFO Application startup complete.")
    machine.api.up = True
    await machine.pass_time(1)
    assert machine.book.startup == pytest.approx({"imports": 10.0, "weights": 5.0, "serving": 0.25})
    assert machine.log[0].startswith("INFO Starting to load")


@pytest.mark.parametrize(("earlier", "usual"), [((), None), ((30.0, 10.0, 20.0), 20.0), ((10.0, 20.0), 15.0)])
async def test_the_remaining_time_of_a_start_is_guessed_from_earlier_ones(inline_threads, earlier, usual):
    machine = Machine(earlier_starts_s=earlier)
    await start(machine)
    assert (machine.run.usual_s, machine.run.remaining_s()) == (usual, usual)
    await machine.pass_time(500)
    assert machine.run.remaining_s() == (usual and 1.0), "a late start is always about to be done"
    machine.supervisor.stop("the end")
    await machine.pass_time(10)


# --- starts that fail ------------------------------------------------------------------------------------------------


async def test_an_engine_that_dies_while_it_starts_is_diagnosed_from_its_last_words(machine):
    await start(machine)
    machine.launcher.say("api_server.py: error: unrecognized arguments: --max-modle-len 8192")
    machine.process.exit(code=2)
    await settle()
    assert (machine.state, machine.supervisor.last_run.diagnosis.kind.value) == (EngineState.FAILED, "bad_argument")
    assert "--max-modle-len" in reason(machine)
    assert machine.book.lines[-1][:2] == ("ended", "failed")
    assert machine.process.terms == 0


async def test_an_engine_that_cannot_be_planned_is_a_failed_start(machine):
    machine.engine.problem = MissingPieceError("vLLM is not installed here")
    await start(machine)
    assert (machine.state, reason(machine)) == (EngineState.FAILED, "vLLM is not installed here")
    assert machine.book.lines == [("began", "tiny"), ("ended", "failed", "vLLM is not installed here")]
    assert machine.supervisor.last_run.note is None, "nothing was started, so no memory can be missing"


@pytest.mark.parametrize("problem", [EngineStartError("cannot run x: No such file"), OSError(11, "no more processes")])
async def test_an_engine_that_cannot_be_executed_is_a_failed_start(machine, problem):
    machine.launcher.problem = problem
    await start(machine)
    assert (machine.state, reason(machine)) == (EngineState.FAILED, str(problem))


async def test_a_start_has_its_time(machine):
    await start(machine)
    machine.launcher.say("INFO Starting to load model tiny...")
    await machine.pass_time(LIMITS.start_s + 1)
    assert machine.state is EngineState.FAILED
    assert "not ready after 10m (--start-timeout); it was busy with weights" in reason(machine)
    assert machine.process.kills == 1


async def test_an_endpoint_that_somebody_else_owns_is_not_our_engine(machine):
    machine.api.owner = 4242
    await machine.get_ready()
    assert machine.state is EngineState.FAILED
    assert "process 4242, which costctl did not start, listens on unix:/run/costctl/engine.sock" in reason(machine)
    assert machine.api.canaries == 0


async def test_an_owner_that_cannot_be_told_is_not_held_against_it(machine):
    machine.api.owner = None
    await machine.get_ready()
    assert machine.state is EngineState.READY


async def test_an_engine_that_answers_only_its_health_route_is_not_ready(machine):
    machine.api.answers = False
    await machine.get_ready()
    assert machine.state is EngineState.FAILED
    assert "it answers its health route but no request" in reason(machine)


async def test_a_stop_ordered_during_the_start_ends_it(machine):
    await start(machine)
    machine.supervisor.stop("costctl stop")
    await settle()
    assert (machine.state, machine.process.terms) == (EngineState.OFF, 1)
    assert machine.book.lines[-1] == ("ended", "stopped", None)


async def test_a_start_that_swallows_sigterm_is_killed_after_seconds_not_after_the_stop_timeout(machine):
    machine.launcher.traits = {"swallowed_terms": 99}
    await start(machine)
    machine.supervisor.stop("costctl stop")
    await machine.pass_time(8)
    assert (machine.state, machine.process.kills) == (EngineState.OFF, 1)


# --- engines that break ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"code": 0}, {"code": 1}, {"signal": 9}])
async def test_an_engine_that_ends_by_itself_has_crashed_even_with_exit_code_0(machine, how):
    await machine.get_ready()
    machine.process.exit(**how)
    await settle()
    assert machine.state is EngineState.FAILED
    assert machine.book.lines[-1][:2] == ("ended", "crashed")


async def test_helpers_that_outlive_a_crash_are_killed_at_once(machine):
    machine.launcher.traits = {"helpers_linger": True}
    await machine.get_ready()
    machine.process.exit(signal=11)
    await settle()
    assert (machine.state, machine.process.kills) == (EngineState.FAILED, 1)


async def test_an_engine_that_is_deaf_three_times_in_a_row_is_broken(machine):
    await machine.get_ready()
    for healthy in (False, False, True, False, False):
        machine.api.up = healthy
        await machine.pass_time(5)
    assert machine.state is EngineState.READY
    await machine.pass_time(5)
    assert machine.state is EngineState.FAILED
    assert "its health route failed 3 times in a row" in reason(machine)


async def test_requests_without_progress_are_put_to_the_test_and_an_engine_that_fails_it_is_broken(machine):
    await machine.get_ready()
    await one_request(machine)
    machine.api.answers = False
    await machine.pass_time(LIMITS.stall_s + 10)
    assert machine.state is EngineState.FAILED
    assert "none made progress for 5m" in reason(machine)


async def test_an_engine_that_passes_the_test_lives_on(machine):
    await machine.get_ready()
    await one_request(machine)
    await machine.pass_time(LIMITS.stall_s + 10)
    assert (machine.state, machine.api.canaries) == (EngineState.READY, 2)


async def test_progress_and_idleness_are_no_stall(machine):
    await machine.get_ready()
    machine.api.answers = False
    await machine.pass_time(LIMITS.stall_s * 2)
    await one_request(machine)
    for _ in range(10):
        machine.api.work(generation=5)
        await machine.pass_time(LIMITS.stall_s / 5)
    assert (machine.state, machine.api.canaries) == (EngineState.READY, 1)


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_running_requests_may_finish_before_the_engine_is_ended(machine):
    await machine.get_ready()
    await one_request(machine)
    machine.supervisor.stop("idle")
    await machine.pass_time(20)
    assert (machine.state, machine.process.terms) == (EngineState.STOPPING, 0)
    machine.supervisor.leave()
    await settle()
    assert (machine.state, machine.process.terms) == (EngineState.OFF, 1)


async def test_requests_that_do_not_finish_are_cut_off_after_the_drain_timeout(machine):
    await machine.get_ready()
    await one_request(machine)
    machine.supervisor.stop("idle")
    await machine.pass_time(LIMITS.drain_s)
    assert (machine.state, machine.process.terms) == (EngineState.OFF, 1)


async def test_a_swallowed_sigterm_is_sent_again(machine):
    machine.launcher.traits = {"swallowed_terms": 2}
    await machine.get_ready()
    machine.supervisor.stop("idle")
    await machine.pass_time(4)
    assert (machine.state, machine.process.terms, machine.process.kills) == (EngineState.OFF, 3, 0)


async def test_an_engine_that_does_not_end_in_time_is_killed(machine):
    machine.launcher.traits = {"swallowed_terms": 99}
    await machine.get_ready()
    machine.supervisor.stop("idle")
    await machine.pass_time(LIMITS.stop_s - 1)
    assert machine.process.kills == 0
    await machine.pass_time(4)
    assert (machine.state, machine.process.kills) == (EngineState.OFF, 1)


async def test_processes_that_outlive_the_server_are_killed(machine):
    machine.launcher.traits = {"helpers_linger": True}
    await machine.get_ready()
    machine.supervisor.stop("idle")
    await machine.pass_time(3)
    assert (machine.state, machine.process.kills) == (EngineState.OFF, 1)


async def test_what_even_sigkill_does_not_end_is_stuck_and_off_once_it_is_gone(machine):
    machine.launcher.traits = {"swallowed_terms": 99, "survives_kill": True}
    await machine.get_ready()
    machine.supervisor.stop("idle")
    await machine.pass_time(60)
    assert machine.state is EngineState.STUCK
    assert ("ended", "stopped", None) not in machine.book.lines
    machine.process.vanish()
    await settle()
    assert (machine.state, machine.book.lines[-1]) == (EngineState.OFF, ("ended", "stopped", None))


async def test_gpu_memory_that_does_not_come_back_is_stuck_until_it_does(machine):
    await machine.get_ready()
    machine.gpus.used = 8 * GIB
    machine.supervisor.stop("idle")
    await machine.pass_time(29)
    assert machine.state is EngineState.STOPPING
    await machine.pass_time(2)
    assert (machine.state, reason(machine)) == (EngineState.STUCK, "8,192 MiB of GPU memory did not come back")
    machine.gpus.used = 0
    await machine.pass_time(5)
    assert machine.state is EngineState.OFF


async def test_gpu_memory_that_comes_back_a_little_later_is_fine(machine):
    await machine.get_ready()
    machine.gpus.used = 8 * GIB
    machine.supervisor.stop("idle")
    await machine.pass_time(2)
    machine.gpus.used = GIB // 4
    await machine.pass_time(1)
    assert machine.state is EngineState.OFF


async def test_a_stopped_engine_whose_endpoint_still_answers_is_stuck_as_long_as_it_does(machine):
    await machine.get_ready()
    machine.api.listens_on = True
    machine.supervisor.stop("idle")
    await machine.pass_time(60)
    assert (machine.state, reason(machine)) == (
        EngineState.STUCK,
        "something still listens on unix:/run/costctl/engine.sock",
    )
    machine.api.listens_on = False
    await machine.pass_time(5)
    assert machine.state is EngineState.OFF


async def test_memory_is_held_only_by_what_was_ever_ours(machine):
    machine.gpus.processes = (GpuProcess(pid=9, memory_bytes=GIB),)
    machine.gpus.used = GIB
    await machine.get_ready()
    machine.gpus.processes = (GpuProcess(pid=9, memory_bytes=6 * GIB),)
    machine.gpus.used = 6 * GIB
    machine.supervisor.stop("idle")
    await settle()
    assert machine.state is EngineState.OFF


@pytest.mark.parametrize("when", ["before the start", "after the stop"])
async def test_a_gpu_that_cannot_be_read_is_said_not_assumed(machine, when):
    if when == "before the start":
        machine.gpus.problem = "NVML: Driver Not Loaded"
    await machine.get_ready()
    machine.gpus.problem = "NVML: Driver Not Loaded"
    machine.supervisor.stop("idle")
    await settle()
    assert machine.state is EngineState.OFF
    assert machine.supervisor.last_run.note == (f"GPU memory could not be read {when}, so its return was not verified")


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_tokens_are_counted_from_the_engines_counters(machine):
    await machine.get_ready()
    await one_request(machine)
    machine.api.work(prompt=100, generation=7)
    await machine.pass_time(5)
    machine.api.work(generation=3)
    await machine.pass_time(5)
    assert machine.book.tokens == (100, 10)


async def test_the_last_tokens_are_counted_before_the_engine_ends(machine):
    await machine.get_ready()
    machine.api.work(prompt=9, generation=1)
    machine.supervisor.stop("idle")
    await settle()
    assert machine.book.tokens == (9, 1)


async def test_our_own_probes_are_nobodys_usage(machine):
    await machine.get_ready()
    await one_request(machine)
    await machine.pass_time(LIMITS.stall_s + 30)
    assert (machine.api.canaries, machine.book.tokens) == (2, (0, 0))


async def test_two_readings_at_once_count_no_token_twice(machine):
    await machine.get_ready()
    machine.api.work(prompt=10, generation=10)
    machine.api.gate = asyncio.Event()
    readings = [asyncio.create_task(machine.run.refresh()) for _ in range(3)]
    await settle()
    machine.api.gate.set()
    await asyncio.gather(*readings)
    assert machine.book.tokens == (10, 10)


async def test_counters_that_begin_anew_charge_nothing(machine):
    await machine.get_ready()
    machine.api.work(prompt=100)
    await machine.pass_time(5)
    machine.api.prompt = machine.api.generation = 0
    await machine.pass_time(5)
    machine.api.work(prompt=4)
    await machine.pass_time(5)
    assert machine.book.tokens == (104, 0)


async def test_an_engine_without_counters_is_no_trouble(machine):
    machine.api.publishes = False
    await machine.get_ready()
    await machine.pass_time(60)
    assert (machine.state, machine.run.counters, machine.run.counters_problem) == (EngineState.READY, None, None)


async def test_counters_that_cannot_be_read_are_said(machine):
    await machine.get_ready()
    machine.api.problem = "no metrics from the engine: HTTP 500"
    await machine.pass_time(5)
    assert machine.run.counters_problem == "no metrics from the engine: HTTP 500"
    machine.api.problem = None
    await machine.pass_time(5)
    assert machine.run.counters_problem is None


# --- whose work it was -----------------------------------------------------------------------------------------------


async def test_work_of_the_front_door_is_not_the_engines_own(machine):
    await machine.get_ready()
    await one_request(machine)
    machine.api.work(generation=5)
    await machine.pass_time(5)
    machine.api.work(generation=5)
    machine.supervisor.leave()
    await machine.pass_time(5)
    assert machine.run.own_work_at is None


async def test_counters_that_show_a_request_a_little_late_are_not_the_engines_own_work(machine):
    await machine.get_ready()
    await one_request(machine)
    await machine.pass_time(4)
    machine.supervisor.leave()
    await machine.pass_time(1.5)  # looked at 5 s
    machine.api.work(generation=5)
    await machine.pass_time(5)
    assert machine.run.own_work_at is None


async def test_a_probe_that_the_counters_show_late_is_not_the_engines_own_work(machine):
    await machine.get_ready()
    machine.api.work(prompt=1, generation=1)
    await machine.pass_time(5)
    assert machine.run.own_work_at is None


async def test_tokens_without_any_request_are_the_engines_own_work(machine):
    await machine.get_ready()
    await machine.pass_time(20)
    machine.api.work(generation=5)
    await machine.pass_time(5)
    assert machine.run.own_work_at == machine.clock.monotonic()


async def test_limits_are_what_a_person_set(inline_threads):
    machine = Machine(limits=Limits(start_s=5.0, drain_s=1.0, stop_s=1.0, stall_s=1.0))
    await start(machine)
    await machine.pass_time(6)
    assert "not ready after 5s" in reason(machine)
