"""Starting: what the log says, when the socket answers, how a start goes wrong."""

import signal
import socket
import subprocess
import sys
import time

import aiohttp
import psutil
import pytest
from running_sim import until

from costctl.domain.diagnosis import diagnose
from costctl.domain.failures import FailureKind
from costctl.domain.startup import StartPhase, StartTrack, observe

IN_ORDER = (
    "Resolved architecture: Qwen3ForCausalLM",
    "Using max model len 8192",
    "Initializing a V1 LLM engine (v0.32.0)",
    "Starting to load model Qwen/Qwen3-1.7B...",
    "Loading weights took",
    "Model loading took 2.40 GiB memory and",
    "Dynamo bytecode transform time:",
    "torch.compile took",
    "Available KV cache memory: 2.40 GiB",
    "GPU KV cache size: 22,469 tokens, Maximum concurrency for 8,192 tokens per request: 2.74x",
    "Capturing CUDA graphs",
    "Graph capturing finished in",
    "init engine (profile, create kv cache, warmup model) took",
    "Supported tasks: ['generate']",
    "Starting vLLM server on unix:",
    "Application startup complete.",
)


async def test_log_has_vllms_lines_in_vllms_order(launch):
    sim = await launch().ready()
    places = [sim.log.find(words) for words in IN_ORDER]
    assert -1 not in places
    assert places == sorted(places)
    prefix = f"(APIServer pid={sim.pid}) INFO "
    assert sim.log.startswith(prefix)


async def test_costctl_reads_the_phases_from_the_log(launch):
    sim = await launch().ready()
    track = StartTrack()
    for at, line in enumerate(sim.log.splitlines()):
        track = observe(track, line, float(at))
    expected = [phase for phase in StartPhase if phase is not StartPhase.DOWNLOAD]
    assert [phase for phase, _ in track.marks] == expected
    assert track.kv_cache_tokens == 22_469


async def test_connections_are_refused_until_it_is_ready(launch):
    sim = launch("--fail", "hang-start")
    await sim.said("Starting to load model")
    assert sim.uds.is_socket()
    async with sim.session() as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/health")


async def test_start_takes_the_time_that_was_asked_for(launch):
    began = time.monotonic()
    await launch("--start-seconds", "0.7").ready()
    assert time.monotonic() - began >= 0.7


FAILURES = {
    "oom": ("is less than desired GPU memory utilization (0.92,", FailureKind.GPU_MEMORY_IN_USE),
    "cuda-oom": ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", FailureKind.CUDA_OOM),
    "kv": ("the estimated maximum model length is 4096.", FailureKind.CONTEXT_TOO_LONG),
    "model": ("is not a local folder and is not a valid model identifier", FailureKind.MODEL_NOT_FOUND),
    "gated": ("GatedRepoError: 403 Client Error.", FailureKind.GATED_MODEL),
    "driver": ("The NVIDIA driver on your system is too old (found version 12020)", FailureKind.DRIVER_TOO_OLD),
    "port": ("OSError: [Errno 98] Address already in use", FailureKind.PORT_IN_USE),
}


@pytest.mark.parametrize("kind", FAILURES)
async def test_start_fails_in_vllms_words(launch, kind):
    words, diagnosed = FAILURES[kind]
    sim = launch("--fail", kind)
    assert await sim.ended() == 1
    assert words in sim.log
    assert not list(sim.claims.iterdir())
    told = diagnose(sim.log.splitlines(), exit_code=1, signal=None, ready=False)
    assert told.kind is diagnosed


async def test_failure_in_the_core_is_also_the_api_servers(launch):
    sim = launch("--fail", "cuda-oom")
    await sim.ended()
    assert ") ERROR " in sim.log
    assert "[core.py:1510] EngineCore failed to start." in sim.log
    last = (
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
    )
    assert sim.log.splitlines()[-1] == last


async def test_context_that_fits_is_served(launch):
    await launch("--fail", "kv:2048", "--max-model-len", "2048").ready()


async def test_model_path_that_is_no_repository(launch):
    sim = launch("--fail", "model", "--model", "/no/such/model")
    assert await sim.ended() == 1
    assert "HFValidationError: Repo id must be in the form" in sim.log


async def test_start_that_ends_without_an_error(launch):
    sim = launch("--fail", "exit0")
    assert await sim.ended() == 0
    assert "Application startup complete" not in sim.log


async def test_failures_can_be_for_the_first_life_only(launch, tmp_path):
    once = ("--fail", "oom", "--fail-once-file", tmp_path / "failed")
    assert await launch(*once).ended() == 1
    await launch(*once).ready()


async def test_core_that_is_killed_during_the_start(launch):
    sim = launch("--start-seconds", "1")
    (core,) = await until(lambda: psutil.Process(sim.pid).children(), "an engine core")
    core.kill()
    assert await sim.ended() == 1
    assert "Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': -9}" in sim.log


async def test_sigterm_during_the_start_ends_it(launch):
    sim = launch("--fail", "hang-start")
    await sim.said("Starting to load model")
    core = sim.core()
    sim.process.terminate()
    assert await sim.ended() == 0
    assert not core.is_running()


async def test_swallowed_sigterm_is_lost(launch):
    sim = launch("--fail", "swallow-sigterm", "--start-seconds", "0.5")
    await sim.said("Starting to load model")
    sim.process.terminate()
    await sim.ready()
    sim.process.terminate()
    assert await sim.ended() == 0


async def test_second_sigterm_during_the_start_is_heard(launch):
    sim = launch("--fail", "swallow-sigterm", "--fail", "hang-start")
    await sim.said("Starting to load model")
    sim.process.terminate()
    sim.process.send_signal(signal.SIGINT)
    assert await sim.ended() == 0


async def test_taken_port(launch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        sim = launch("--uds", "", "--port", str(other.getsockname()[1]))
        assert await sim.ended() == 1
    assert "OSError: [Errno 98] Address already in use" in sim.log


async def test_tcp_port(launch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sim = launch("--uds", "", "--port", str(port))
    await sim.said("Application startup complete")
    await sim.said(f"Starting vLLM server on http://127.0.0.1:{port}")


def test_help_lists_the_failures():
    program = [sys.executable, "-m", "costctl.adapters.engines.sim", "--help"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert "crash-after[:N]" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--fail", "rain"], "no such failure: rain"),
        (["--fail", "oom:3"], "no such failure: oom:3 (oom takes no number)"),
        (["--start-seconds", "-1"], "-1 is not zero or more"),
        (["--max-concurrent", "0"], "0 is not one or more"),
    ],
)
def test_bad_command_line_is_one_line_and_code_2(arguments, complaint):
    program = [sys.executable, "-m", "costctl.adapters.engines.sim"]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
