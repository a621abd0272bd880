"""Prove on this machine that costctl starts, serves, stops and never loses real vLLM.

`make test-vllm` runs it against vLLM on the CPU (test_real_vllm.py). On a GPU box:

    python tests/vllm/prove.py --model MODEL [--vllm PATH] [--streams 64] -- --max-model-len 8192

It prints what it saw as JSON and exits with 1 if anything is not as promised. Nothing is powered off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_S = 0.1


class Daemon:
    """One `costctl serve` with real vLLM, in a home of its own."""

    def __init__(self, home: Path, *, model: str, vllm: str | None, gpu: str, arguments: tuple[str, ...]) -> None:
        self.home = home
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {**os.environ, "COSTCTL_HOME": str(home)}
        self._model = model
        self._serve = ["serve", "--engine", "vllm", "--gpu", gpu, "--port", str(self.port), "--model", model]
        self._serve += ["--price", "3.0 CNY/h", "--billing-starts", "serve"]
        self._serve += ["--vllm", vllm] if vllm else []
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start the daemon and wait for its front door."""
        with (self.home / "output.log").open("ab") as output:
            command = [sys.executable, "-m", "costctl", *self._serve, *options, "--", *self._arguments]
            self.process = subprocess.Popen(command, env=self._environment, stdout=output, stderr=output)
        wait_until(lambda: self._listens() or self._ended(), 60, "the front door opens")

    def costctl(self, *arguments: str) -> str:
        """Run another costctl command and return what it printed."""
        command = [sys.executable, "-m", "costctl", *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True).stdout

    def status(self) -> Any:
        """Return `costctl status --json`."""
        return json.loads(self.costctl("status", "--json"))

    def engine_processes(self) -> list[psutil.Process]:
        """Return the engine's processes with their keeper."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """End the daemon whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def output(self) -> str:
        """Return what the daemon said."""
        return (self.home / "output.log").read_text(errors="replace")

    def body(self, *, stream: bool = False, tokens: int = 16) -> dict[str, Any]:
        """Return a chat request that is answered with exactly `tokens` tokens."""
        messages = [{"role": "user", "content": "Count."}]
        return {"model": self._model, "messages": messages, "stream": stream, "max_tokens": tokens, "ignore_eos": True}

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _ended(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.output()}")
        return False


async def cold_request(daemon: Daemon) -> dict[str, Any]:
    """Send the request that starts the engine."""
    began = time.monotonic()
    async with (
        aiohttp.ClientSession(timeout=_patient()) as client,
        client.post(f"{daemon.url}/v1/chat/completions", json=daemon.body()) as answer,
    ):
        content = await answer.json()
    assert answer.status == 200, content
    return {"seconds": round(time.monotonic() - began, 1), "usage": content["usage"]}


async def streams(daemon: Daemon, *, count: int, tokens: int) -> dict[str, Any]:
    """Stream `count` answers at once; every one must be whole."""
    began = time.monotonic()
    async with aiohttp.ClientSession(timeout=_patient(), connector=aiohttp.TCPConnector(limit=0)) as client:
        results = await asyncio.gather(*(_one_stream(client, daemon, tokens) for _ in range(count)))
    took = time.monotonic() - began
    whole = sum(done for done, _, _ in results)
    return {
        "streams": count,
        "whole": whole,
        "seconds": round(took, 2),
        "tokens_per_second": round(count * tokens / took),
        "events": sum(events for _, events, _ in results),
        "first_event_median_ms": round(1000 * sorted(first for _, _, first in results)[count // 2]),
    }


async def _one_stream(client: aiohttp.ClientSession, daemon: Daemon, tokens: int) -> tuple[bool, int, float]:
    began, events, first, last = time.monotonic(), 0, 0.0, b""
    body = daemon.body(stream=True, tokens=tokens)
    async with client.post(f"{daemon.url}/v1/chat/completions", json=body) as answer:
        assert answer.status == 200, await answer.text()
        async for line in answer.content:
            if line.startswith(b"data: "):
                first = first or time.monotonic() - began
                events, last = events + 1, line
    return last.strip() == b"data: [DONE]", events, first


async def disconnect(daemon: Daemon) -> dict[str, Any]:
    """Leave in the middle of a stream and of a plain request; the engine must stop working on both at once."""
    seconds = {}
    for name, stream in (("streamed", True), ("plain", False)):
        async with aiohttp.ClientSession(timeout=_patient()) as client:
            request = asyncio.create_task(_leave_early(client, daemon, stream=stream))
            await _until_running(client, daemon, 1)
            request.cancel()
            began = time.monotonic()
            await asyncio.gather(request, return_exceptions=True)
            await _until_running(client, daemon, 0)
            seconds[name] = round(time.monotonic() - began, 2)
    return {"seconds_until_the_engine_stopped": seconds}


async def _leave_early(client: aiohttp.ClientSession, daemon: Daemon, *, stream: bool) -> None:
    body = daemon.body(stream=stream, tokens=3500)
    async with client.post(f"{daemon.url}/v1/chat/completions", json=body) as answer:
        async for _ in answer.content:
            pass
    raise AssertionError("the answer was over before its client left")


async def _until_running(client: aiohttp.ClientSession, daemon: Daemon, wanted: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        async with client.get(f"{daemon.url}/metrics") as answer:
            text = await answer.text()
        running = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running")]
        if running and sum(float(line.rpartition(" ")[2]) for line in running) == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the engine never had {wanted} requests running")


def idle_stop(daemon: Daemon) -> dict[str, Any]:
    """Send nothing until the daemon has stopped the engine and itself."""
    assert daemon.process is not None
    processes = daemon.engine_processes()
    began = time.monotonic()
    code = daemon.process.wait(180)
    left = [process.pid for process in processes if _lives(process)]
    return {"exit_code": code, "seconds": round(time.monotonic() - began, 1), "processes_left": left}


def kill_daemon(daemon: Daemon) -> dict[str, Any]:
    """SIGKILL the daemon; return how long its engine outlived it."""
    assert daemon.process is not None
    processes = daemon.engine_processes()
    names = sorted({process.name() for process in processes})
    os.kill(daemon.process.pid, signal.SIGKILL)
    began = time.monotonic()
    daemon.process.wait()
    wait_until(lambda: not any(_lives(process) for process in processes), 30, "every process of the engine is gone")
    return {"processes": len(processes), "names": names, "seconds_until_all_gone": round(time.monotonic() - began, 2)}


def session(daemon: Daemon) -> dict[str, Any]:
    """Return the newest session; its phases must add up to it."""
    newest = json.loads(daemon.costctl("sessions", "--json"))[0]
    assert newest["phases"], newest
    for earlier, later in zip(newest["phases"], newest["phases"][1:], strict=False):
        assert earlier["ended_at"] == later["started_at"], newest
    assert newest["phases"][0]["started_at"] == newest["started_at"]
    return dict(newest)


def startup(daemon: Daemon) -> dict[str, float]:
    """Return what the newest start of the engine was spent on, in seconds, from the ledger."""
    from costctl.ledger.store import Ledger

    with Ledger.read(f"sqlite:///{daemon.home / 'ledger.db'}") as ledger:
        run = ledger.engine_runs(session(daemon)["id"])[-1]
    return {phase: round(seconds, 1) for phase, seconds in run.startup_seconds.items()}


def vram_mib(gpu: str) -> int | None:
    """Return the GPU memory in use, None without a GPU."""
    if gpu == "none":
        return None
    from costctl.adapters.gpus.nvml import NvmlGpus

    return sum(reading.memory_used_bytes for reading in NvmlGpus().read()) // 2**20


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Look until `condition` holds. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        time.sleep(_LOOK_S)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _patient() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=900)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _steps(daemon: Daemon, *, gpu: str, count: int, tokens: int, idle: str) -> Iterator[tuple[str, Any]]:
    yield "vram_before_mib", vram_mib(gpu)
    daemon.start("--idle-shutdown", idle)
    yield "cold_request", asyncio.run(cold_request(daemon))
    yield "warm_request", asyncio.run(cold_request(daemon))
    yield "vram_ready_mib", vram_mib(gpu)
    yield "streams", asyncio.run(streams(daemon, count=count, tokens=tokens))
    yield "disconnect", asyncio.run(disconnect(daemon))
    yield "status", daemon.status()
    yield "idle_stop", idle_stop(daemon)
    yield "vram_after_idle_stop_mib", vram_mib(gpu)
    yield "session", session(daemon)
    yield "startup_seconds", startup(daemon)
    daemon.start("--idle-shutdown", "off", "--eager")
    wait_until(lambda: daemon.status()["engine"]["state"] == "ready", 600, "the engine is ready")
    yield "vram_before_sigkill_mib", vram_mib(gpu)
    yield "sigkill", kill_daemon(daemon)
    yield "vram_after_sigkill_mib", vram_mib(gpu)


def main() -> int:
    """Run every step and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--vllm")
    parser.add_argument("--gpu", default="nvml", choices=("nvml", "none"))
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--idle", default="20s")
    parser.add_argument("arguments", nargs="*", help="for vLLM, after --")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="costctl-prove-") as folder:
        daemon = Daemon(
            Path(folder), model=chosen.model, vllm=chosen.vllm, gpu=chosen.gpu, arguments=tuple(chosen.arguments)
        )
        options = {"gpu": chosen.gpu, "count": chosen.streams, "tokens": chosen.tokens, "idle": chosen.idle}
        try:
            for name, seen in _steps(daemon, **options):
                print(json.dumps({name: seen}), flush=True)
        except BaseException:
            print(daemon.output(), file=sys.stderr)
            raise
        finally:
            daemon.end()
        print(daemon.output())
    return 0


if __name__ == "__main__":
    sys.exit(main())
