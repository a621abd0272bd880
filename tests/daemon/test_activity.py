import pytest
from fakes.surroundings import GIB, GpuProcess


async def read(machine, *, final=False):
    """Return what each signal shows, by its name."""
    return {evidence.name: evidence for evidence in await machine.activity.read(final=final)}


async def test_people_are_looked_for_every_time(machine):
    assert (await read(machine))["logins"].active is False
    machine.logins.active = True
    assert (await read(machine))["logins"].active is True


# --- the engine ------------------------------------------------------------------------------------------------------


async def test_an_engine_that_is_not_ready_is_quiet(machine):
    assert (await read(machine))["engine counters"].active is False
    machine.supervisor.start()
    await machine.pass_time(1)
    assert (await read(machine))["engine counters"].active is False


async def test_a_quiet_engine_is_quiet(machine):
    await machine.get_ready()
    evidence = (await read(machine))["engine counters"]
    assert (evidence.active, evidence.detail) == (False, "no request and no token but the front door's")


async def test_an_engine_without_counters_is_quiet(machine):
    machine.api.publishes = False
    await machine.get_ready()
    evidence = (await read(machine))["engine counters"]
    assert (evidence.active, evidence.detail) == (False, "this engine publishes none")


async def test_counters_that_cannot_be_read_are_unreadable_not_quiet(machine):
    await machine.get_ready()
    machine.api.problem = "no metrics from the engine: HTTP 500"
    await machine.pass_time(5)
    assert (await read(machine))["engine counters"].active is None


async def test_requests_that_the_front_door_does_not_know_are_activity(machine):
    await machine.get_ready()
    await machine.supervisor.enter()
    machine.api.running = 1
    await machine.pass_time(5)
    assert (await read(machine))["engine counters"].active is False
    machine.api.waiting = 1
    await machine.pass_time(5)
    assert (await read(machine))["engine counters"].detail == "the engine works on 2 requests"


async def test_a_request_that_ended_since_the_count_is_not_the_engines_own(machine):
    await machine.get_ready()
    await machine.supervisor.enter()
    machine.api.running = 1
    await machine.pass_time(6)
    machine.supervisor.leave()
    assert (await read(machine))["engine counters"].active is False


async def test_tokens_that_nobody_asked_for_are_activity_as_old_as_they_are(machine):
    await machine.get_ready()
    await machine.pass_time(20)
    machine.api.work(generation=1)
    await machine.pass_time(8)
    evidence = (await read(machine))["engine counters"]
    assert (evidence.active, evidence.age_s) == (True, 3.0)
    await machine.pass_time(60)
    assert (await read(machine))["engine counters"].active is False, "or it would look active for ever"


async def test_the_final_look_reads_the_counters_anew(machine):
    await machine.get_ready()
    machine.api.running = 1
    assert (await read(machine))["engine counters"].active is False
    assert (await read(machine, final=True))["engine counters"].active is True


# --- GPUs ------------------------------------------------------------------------------------------------------------


async def test_gpus_are_left_alone_while_the_engine_is_off(machine):
    evidence = (await read(machine))["other GPU programs"]
    assert (evidence.active, evidence.detail) == (False, "not watched while the engine is off")
    assert machine.gpus.reads == 0


async def test_gpus_are_read_before_anything_is_stopped_even_while_the_engine_is_off(machine):
    machine.gpus.busy(4242)
    assert (await read(machine, final=True))["other GPU programs"].active is True


async def test_gpus_are_let_go_when_the_engine_is_gone(machine):
    await machine.get_ready()
    await read(machine)
    assert len(machine.activity.readings) == 1
    machine.supervisor.stop("idle")
    await machine.pass_time(1)
    await read(machine)
    assert (machine.activity.readings, machine.gpus.releases) == ((), 1)


async def test_gpus_are_read_every_ten_seconds_and_when_the_engine_has_become_ready(machine):
    machine.supervisor.start()
    await machine.pass_time(1)
    await read(machine)
    reads = machine.gpus.reads
    await machine.pass_time(5)
    assert "other GPU programs" not in await read(machine)
    machine.api.up = True
    await machine.pass_time(1)
    await read(machine)
    await machine.pass_time(9)
    await read(machine)
    assert machine.gpus.reads == reads + 1
    await machine.pass_time(1)
    await read(machine)
    assert machine.gpus.reads == reads + 2


async def test_the_engines_own_processes_are_no_strangers(machine):
    await machine.get_ready()
    machine.gpus.busy(*machine.process.pids())
    evidence = (await read(machine))["other GPU programs"]
    assert (evidence.active, evidence.detail) == (False, "no other program computes on a GPU")
    machine.gpus.busy(*machine.process.pids(), 4242)
    evidence = (await read(machine, final=True))["other GPU programs"]
    assert (evidence.active, evidence.detail) == (True, "process 4242 at 80 %")


async def test_a_program_that_only_holds_memory_is_no_activity(machine):
    machine.gpus.processes = (GpuProcess(pid=4242, memory_bytes=GIB, sm_percent=0), GpuProcess(pid=4243))
    assert (await read(machine, final=True))["other GPU programs"].active is False


async def test_a_machine_without_gpus_is_quiet(machine):
    machine.gpus.watched = False
    assert (await read(machine, final=True))["other GPU programs"].detail == "no GPU is watched"


@pytest.mark.parametrize("engine_up", [True, False])
async def test_a_gpu_that_cannot_be_read_is_looked_at_again_until_it_can(machine, engine_up):
    if engine_up:
        await machine.get_ready()
    machine.gpus.problem = "NVML: GPU is lost"
    assert (await read(machine, final=True))["other GPU programs"].active is None
    assert "other GPU programs" not in await read(machine), "at most every ten seconds"
    await machine.pass_time(10)
    assert (await read(machine))["other GPU programs"].active is None
    machine.gpus.problem = None
    await machine.pass_time(10)
    assert (await read(machine))["other GPU programs"].active is False
