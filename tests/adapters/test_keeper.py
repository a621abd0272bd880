"""Real processes, small ones: each test waits for what it is told, and nothing it starts is left."""

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from costctl.adapters.processes.launcher import KeeperLauncher
from costctl.domain.engines import Endpoint, ExitStatus, LaunchPlan
from costctl.errors import EngineStartError

TIMEOUT_S = 20
# A server with a helper in its process group, which holds all that it was given open, and one that went its own way.
FAMILY = """
import os, signal, subprocess, sys
helper = subprocess.Popen(["sleep", "600"], close_fds=False)
runaway = subprocess.Popen(["sleep", "600"], start_new_session=True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
print("up", flush=True)
signal.pause()
"""


class Kept:
    """An engine and the lines it has printed."""

    def __init__(self):
        self.lines = []
        self._heard = asyncio.Event()

    def hear(self, line):
        self.lines.append(line)
        self._heard.set()

    async def says(self, wanted):
        async with asyncio.timeout(TIMEOUT_S):
            while wanted not in self.lines:
                self._heard.clear()
                await self._heard.wait()


@pytest.fixture
def record(tmp_path):
    return tmp_path / "engine.pid"


@pytest.fixture
async def launch(record):
    engines = []

    async def start(*argv, **environment):
        kept = Kept()
        plan = LaunchPlan(kind="test", model="m", argv=argv, endpoint=Endpoint(port=1), environment=environment)
        engine = await KeeperLauncher(record).launch(plan, kept.hear)
        engines.append(engine)
        return engine, kept

    yield start
    for engine in engines:
        engine.kill()
        await end(engine.gone)
        await asyncio.gather(*engine._tasks)


async def end(future):
    async with asyncio.timeout(TIMEOUT_S):
        return await asyncio.shield(future)


async def family(launch):
    engine, kept = await launch(sys.executable, "-S", "-c", FAMILY)
    await kept.says("up")
    processes = [psutil.Process(pid) for pid in engine.pids()]
    assert len(processes) == 3
    return engine, processes


def boot_id():
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def alive(processes):
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


# --- what it prints and how it ends ----------------------------------------------------------------------------------


async def test_an_engine_runs_prints_and_ends_with_its_code(launch, record):
    engine, kept = await launch("sh", "-c", "echo to stdout; echo to stderr >&2; exit 3")
    assert await end(engine.exited) == ExitStatus(code=3)
    await end(engine.gone)
    await asyncio.gather(*engine._tasks)
    assert kept.lines == ["to stdout", "to stderr"]
    assert not record.exists()


async def test_an_engine_that_is_killed_by_a_signal_says_which(launch):
    engine, _ = await launch("sh", "-c", "kill -SEGV $$")
    assert await end(engine.exited) == ExitStatus(signal=signal.SIGSEGV)


async def test_output_of_any_shape_becomes_lines(launch):
    shape = r"printf 'one\rtwo\n\nlast \377'; head -c 200000 /dev/zero | tr '\0' x"
    engine, kept = await launch("sh", "-c", shape)
    await end(engine.gone)
    await asyncio.gather(*engine._tasks)
    assert kept.lines[:2] == ["one", "two"]
    assert kept.lines[2].startswith("last �x")
    assert sum(map(len, kept.lines[2:])) == 200_000 + len("last �")
    assert max(map(len, kept.lines)) <= 2 * 64 * 1024


async def test_the_engine_gets_its_environment_and_no_input(launch):
    engine, kept = await launch("sh", "-c", 'cat; echo "$COSTCTL_TEST"', COSTCTL_TEST="from the plan")
    await end(engine.gone)
    await asyncio.gather(*engine._tasks)
    assert kept.lines == ["from the plan"]


async def test_the_engine_leads_a_session_of_its_own_and_is_recorded_before_it_runs(launch, record):
    engine, kept = await launch("sh", "-c", f'cat "{record}"; exec sleep 600')
    async with asyncio.timeout(TIMEOUT_S):
        while not kept.lines:
            kept._heard.clear()
            await kept._heard.wait()
    assert os.getsid(engine.pid) == os.getpgid(engine.pid) == engine.pid
    assert kept.lines == [f"{engine.pid} {start_ticks(engine.pid)} {boot_id()}"]
    assert record.stat().st_mode & 0o777 == 0o600


# --- what cannot be started ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("/no/such/program", "No such file or directory"),
        ("/etc/passwd", "Permission denied"),
        ("/tmp", "Permission denied"),
    ],
)
async def test_a_program_that_cannot_be_executed_is_said_with_its_name(launch, record, program, words):
    with pytest.raises(EngineStartError) as caught:
        await launch(program, "--flag")
    assert str(caught.value) == f"cannot run {program}: {words}"


async def test_a_command_that_the_kernel_does_not_take_is_said_and_leaks_nothing(launch):
    counts = []
    for _ in range(3):
        with pytest.raises(EngineStartError, match=os.strerror(errno.E2BIG)):
            await launch("sh", "x" * 200_000)
        counts.append(open_files())
    assert counts[1] == counts[2]


# --- ending it -------------------------------------------------------------------------------------------------------


async def test_sigterm_goes_to_the_server_only(launch):
    engine, processes = await family(launch)
    engine.terminate()
    assert await end(engine.exited) == ExitStatus(code=7)
    assert len(alive(processes)) == 2


async def test_it_is_gone_only_when_its_last_process_is(launch):
    engine, processes = await family(launch)
    engine.terminate()
    await end(engine.exited)
    helper, runaway = sorted(alive(processes), key=lambda process: process.pid)
    helper.kill()
    psutil.wait_procs([helper], timeout=TIMEOUT_S)  # until the keeper has reaped it
    assert not engine.gone.done()
    runaway.kill()
    await end(engine.gone)
    assert engine.pids() == frozenset()


async def test_kill_ends_all_of_them_also_those_in_sessions_of_their_own(launch, record):
    engine, processes = await family(launch)
    engine.kill()
    await end(engine.gone)
    assert alive(processes) == []
    assert await end(engine.exited) == ExitStatus(signal=9)
    assert not record.exists()


async def test_orders_to_an_engine_that_is_gone_do_nothing(launch):
    engine, _ = await launch("true")
    await end(engine.gone)
    engine.terminate()
    engine.kill()
    assert engine.pids() == frozenset()


# --- when the daemon or the keeper dies ------------------------------------------------------------------------------

DAEMON = """
import asyncio, json, sys
from pathlib import Path
import uvloop
from costctl.adapters.processes.launcher import KeeperLauncher
from costctl.domain.engines import Endpoint, LaunchPlan

async def main():
    up = asyncio.Event()
    plan = LaunchPlan(kind="t", model="m", argv=tuple(json.loads(sys.argv[2])), endpoint=Endpoint(port=1))
    engine = await KeeperLauncher(Path(sys.argv[1])).launch(plan, lambda line: up.set())
    await up.wait()
    print(json.dumps([engine._keeper.pid, *engine.pids()]), flush=True)
    await engine.gone

asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())
"""


def test_when_the_daemon_is_killed_nothing_of_the_engine_lives_on(record):
    argv = json.dumps([sys.executable, "-S", "-c", FAMILY])
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(record), argv], stdout=subprocess.PIPE, text=True
    ) as daemon:
        processes = [psutil.Process(pid) for pid in json.loads(daemon.stdout.readline())]
        assert len(processes) == 4
        daemon.kill()
    _, left = psutil.wait_procs(processes, timeout=TIMEOUT_S)
    assert left == []
    assert not record.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_signals_to_the_keeper_leave_the_engine_alone(launch, number):
    engine, kept = await launch("sh", "-c", "echo up; exec sleep 600")
    await kept.says("up")
    os.kill(engine._keeper.pid, number)
    assert len(alive([psutil.Process(engine.pid)])) == 1
    engine.terminate()
    assert await end(engine.exited) == ExitStatus(signal=signal.SIGTERM), "the keeper still obeys"


async def test_when_the_keeper_is_killed_the_engine_counts_as_killed_and_its_group_is_ended(launch, record):
    engine, processes = await family(launch)
    runaway = next(process for process in processes if os.getsid(process.pid) == process.pid != engine.pid)
    os.kill(engine._keeper.pid, signal.SIGKILL)
    assert await end(engine.exited) == ExitStatus(signal=9)
    await end(engine.gone)
    assert alive(processes) == [runaway], "what left the session cannot be told from other programs any more"
    runaway.kill()
    assert not record.exists()
