"""The daemon against real vLLM on the CPU, with a tiny model made on the spot: `make test-vllm`."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import prove
import pytest

pytestmark = pytest.mark.vllm

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # with the default binding a stream may come as one burst
}


@pytest.fixture
def daemon():
    where = Path(os.environ["COSTCTL_TEST_VLLM"])
    os.environ.update(_ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="costctl-vllm-") as folder:
        arguments = ("--max-model-len", "4096", "--max-num-seqs", "16", "--enforce-eager")
        daemon = prove.Daemon(
            Path(folder),
            model=str(where / "models" / "tiny"),
            vllm=str(where / "bin" / "vllm"),
            gpu="none",
            arguments=arguments,
        )
        yield daemon
        daemon.end()


def test_a_request_starts_vllm_streams_flow_departure_is_felt_and_idleness_ends_it_all(daemon):
    daemon.start("--idle-shutdown", "15s")

    cold = asyncio.run(prove.cold_request(daemon))
    assert cold["usage"]["completion_tokens"] == 16

    streamed = asyncio.run(prove.streams(daemon, count=8, tokens=100))
    assert streamed["whole"] == 8
    assert streamed["events"] >= 8 * 50, "chunks were not passed on as they came"

    left = asyncio.run(prove.disconnect(daemon))
    status = daemon.status()
    assert status["engine"]["in_flight"] == 0

    stopped = prove.idle_stop(daemon)
    assert stopped["exit_code"] == 0
    assert stopped["processes_left"] == []

    session = prove.session(daemon)
    assert session["end_reason"] == "idle"
    phases = {phase["phase"] for phase in session["phases"]}
    assert {"off", "starting", "busy", "idle", "stopping"} <= phases
    print({"cold": cold, "streams": streamed, "disconnect": left, "idle_stop": stopped, "cost": session["cost"]})


def test_sigkill_of_the_daemon_leaves_no_process_of_vllm(daemon):
    daemon.start("--idle-shutdown", "off", "--eager")
    prove.wait_until(lambda: daemon.status()["engine"]["state"] == "ready", 300, "vLLM is ready")

    killed = prove.kill_daemon(daemon)

    assert killed["processes"] >= 3, "vLLM's engine core and worker were not seen"
    assert not (daemon.home / "engine.pid").exists()


def test_sigkill_of_the_daemon_in_vllms_start_leaves_nothing_either(daemon):
    daemon.start("--idle-shutdown", "off", "--eager")
    prove.wait_until(lambda: len(daemon.engine_processes()) >= 3, 120, "vLLM's engine core is being started")

    prove.kill_daemon(daemon)
