"""A simulated engine in a process group of its own, and ways to wait for what it does."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import psutil

PATIENCE_S = 20
STEP_S = 0.01
KINDNESS_S = 2
QUICK = ("--start-seconds", "0.05", "--first-token-seconds", "0")
CHECKOUT = Path(__file__).parents[2]
ENDLESS = {"messages": [{"role": "user", "content": "hi"}], "ignore_eos": True}


async def until(condition, what):
    """Return the first true value of `condition`, which may be a coroutine function."""
    for _ in range(int(PATIENCE_S / STEP_S)):
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(STEP_S)
    raise AssertionError(f"waited {PATIENCE_S} s for {what}")


class RunningSim:
    """One simulated engine; its socket lies in a folder with a short path (a socket's has at most 107 bytes)."""

    def __init__(self, *arguments, environment=None):
        self.folder = Path(tempfile.mkdtemp(prefix="sim"))
        self.claims = self.folder / "gpu"
        self.claims.mkdir()
        self.uds = self.folder / "s"
        variables = {"COSTCTL_SIM_GPU": str(self.claims), **(environment or {})}
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "costctl.adapters.engines.sim", "--uds", self.uds, *QUICK, *arguments],
                cwd=CHECKOUT,
                env=os.environ | variables,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return (self.folder / "log").read_text()

    def core(self):
        """The engine core, also when it is an orphan."""
        marked = (line for line in self.log.splitlines() if line.startswith("(EngineCore pid="))
        return psutil.Process(int(next(marked).partition("=")[2].partition(")")[0]))

    def claim(self):
        """What the engine core claims of the GPU, or None."""
        for path in self.claims.glob("*.json"):
            return json.loads(path.read_text())
        return None

    def session(self):
        return aiohttp.ClientSession("http://sim", connector=aiohttp.UnixConnector(str(self.uds)))

    async def ready(self):
        async with self.session() as client:

            async def healthy():
                assert self.process.poll() is None, self.log
                with suppress(aiohttp.ClientConnectionError):
                    async with client.get("/health") as answer:
                        return answer.status == 200

            await until(healthy, "the engine to be ready")
        return self

    async def listens(self):
        """Wait until connections are taken, which is a moment after it says that it has started."""

        async def taken():
            try:
                _, writer = await asyncio.open_unix_connection(self.uds)
            except OSError:
                return False
            writer.close()
            return True

        await until(taken, "listening")

    async def said(self, text):
        await until(lambda: text in self.log, f"{text!r} in the log")

    async def ended(self):
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)

    async def metric(self, name):
        """The value of a metric without labels of its own."""
        async with self.session() as client, client.get("/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + "{", name + " ")))

    def dispose(self):
        # Kindly first, which lets coverage write what it saw; no ordered failure is deaf to SIGINT.
        self.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(KINDNESS_S)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        with suppress(StopIteration, psutil.NoSuchProcess):
            self.core().kill()
        shutil.rmtree(self.folder)


@asynccontextmanager
async def stream(sim):
    """A running stream of which the first event has come."""
    async with sim.session() as client, client.post("/v1/chat/completions", json=ENDLESS | {"stream": True}) as answer:
        await answer.content.readuntil(b"\n\n")
        yield answer


async def is_at(sim, name, value):
    """Return when that metric has that value."""

    async def reached():
        return await sim.metric(name) == value

    await until(reached, f"{name} to be {value}")
