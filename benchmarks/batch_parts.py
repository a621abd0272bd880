"""The ways to send many requests through one GPU that `batch.py` compares; each returns what it measured."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
from batch_requests import SERVED_AS, body, prompts, write_jobs
from idle import engine_state
from processes import free_port, running
from watch import Ended, FailedError, tail, to_its_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from watch import Seen, Watch

READING, WRITING = "Reading batch from", "Writing outputs to"
MAIN_RUN = "Starting main benchmark run"
STOP_TIMEOUT_S = 60.0
_ONE_SEED, _WARM_SEED, _BATCH_SEED = 10_000, 20_000, 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is the same for all parts."""

    python: str
    model: Path
    engine_args: tuple[str, ...]
    limits: tuple[str, ...]
    words: Sequence[str]
    lines: int
    one_by_one: int
    input_tokens: int
    output_tokens: int
    folder: Path
    deadline: float
    environment: Mapping[str, str]
    gpu: str

    @property
    def vllm(self) -> tuple[str, ...]:
        return (self.python, "-m", "vllm.entrypoints.cli.main")

    @property
    def named(self) -> tuple[str, ...]:
        """The engine's options that all starts have in common."""
        return ("--served-model-name", SERVED_AS, *self.engine_args)

    def bodies(self, *, seed: int, count: int, output_tokens: int | None = None) -> list[dict[str, Any]]:
        texts = prompts(self.words, count=count, tokens=self.input_tokens, seed=seed)
        return [body(text, output_tokens=output_tokens or self.output_tokens) for text in texts]

    def jobs(self, seed: int = _BATCH_SEED) -> Path:
        """Write the file of requests; another seed gives another file."""
        path = self.folder / f"jobs{seed}.jsonl"
        write_jobs(path, self.bodies(seed=seed, count=self.lines))
        return path


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one way took for so many requests; `whole_s` is its whole command with all starts."""

    name: str
    requests: int
    seconds: float
    prompt_tokens: int
    generation_tokens: int
    whole_s: float | None = None
    cpu_s: dict[str, float] = field(default_factory=dict)
    gpu_percent: float | None = None
    watts: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A `costctl serve` whose engine is ready."""

    home: Path
    daemon_pid: int
    engine_pid: int
    engine_port: int

    @property
    def engine_url(self) -> str:
        return f"http://127.0.0.1:{self.engine_port}"


# --- the server ----------------------------------------------------------------------------------------------------


def serve_command(setting: Setting, port: int) -> list[str]:
    """Return `costctl serve` with vLLM on a loopback port instead of a private socket: others measure it, too."""
    engine = shlex.join([*setting.vllm, "serve", str(setting.model), "--host", "127.0.0.1", "--port", "{port}"])
    engine += " " + shlex.join(["--disable-uvicorn-access-log", *setting.named, *setting.limits])
    daemon = ["serve", "--engine", "command", "--engine-command", engine, "--model", SERVED_AS, "--eager"]
    daemon += ["--gpu", setting.gpu, "--port", str(port), "--on-idle", "exit", "--billing-starts", "serve"]
    return [sys.executable, "-m", "costctl", *daemon]


@contextlib.contextmanager
def server(setting: Setting) -> Iterator[Server]:
    """Run the server that the parts share.

    Raises:
        FailedError: its engine was not ready in time.
    """
    port, home, log = free_port(), setting.folder / "home", setting.folder / "serve.log"
    environment = {**setting.environment, "COSTCTL_HOME": str(home), "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75"}
    command = serve_command(setting, port)
    with running(command, log=log, environment=environment, stop_timeout_s=STOP_TIMEOUT_S) as process:
        seen = None
        while (seen := engine_state(port)) != "ready":
            if process.poll() is not None or seen == "failed" or time.monotonic() > setting.deadline:
                raise FailedError(f"the engine is {seen}, not ready\n{tail(home / 'logs' / 'engine.log')}\n{tail(log)}")
            time.sleep(0.2)
        engine = _engine(process.pid)
        words = engine.cmdline()
        engine_port = int(words[words.index("--port") + 1])
        yield Server(home=home, daemon_pid=process.pid, engine_pid=engine.pid, engine_port=engine_port)


def _engine(daemon: int) -> psutil.Process:
    """Return vLLM's API server: below the daemon is the keeper, below that the engine."""
    keeper = psutil.Process(daemon).children()[0]
    return keeper.children()[0]


# --- parts with the server -----------------------------------------------------------------------------------------


def warm_up(setting: Setting, served: Server) -> None:
    """Send what nobody measures, many at once: the first full steps of an engine are slow."""
    asyncio.run(_ask_all(served, setting.bodies(seed=_WARM_SEED, count=min(256, setting.lines), output_tokens=8)))


async def _ask_all(served: Server, bodies: Sequence[Mapping[str, Any]]) -> None:
    async with _session() as session:
        await asyncio.gather(*(_ask(session, served, wanted) for wanted in bodies))


async def _ask(session: aiohttp.ClientSession, served: Server, wanted: Mapping[str, Any]) -> Mapping[str, int]:
    async with session.post(f"{served.engine_url}/v1/chat/completions", json=wanted) as answer:
        content = await answer.json()
    if answer.status != 200:
        raise FailedError(f"the engine answered {answer.status}: {content}")
    return dict(content["usage"])


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=900), connector=aiohttp.TCPConnector(limit=0))


def one_by_one(setting: Setting, served: Server, watch: Watch) -> Measured:
    """Send a few requests, each after the answer to the last, over one connection to the engine."""
    bodies = setting.bodies(seed=_ONE_SEED, count=setting.one_by_one)
    watch.pids = {"client": os.getpid(), "API server": served.engine_pid}
    began = time.monotonic()
    usages = asyncio.run(_ask_in_turn(served, bodies))
    ended = time.monotonic()
    return _measured(
        f"one by one over HTTP ({len(bodies)} requests)",
        watch.between(began, ended),
        seconds=ended - began,
        requests=len(bodies),
        prompt_tokens=sum(usage["prompt_tokens"] for usage in usages),
        generation_tokens=sum(usage["completion_tokens"] for usage in usages),
        note=f"{setting.lines:,} would take {(ended - began) / len(bodies) * setting.lines:,.0f} s",
    )


async def _ask_in_turn(served: Server, bodies: Sequence[Mapping[str, Any]]) -> list[Mapping[str, int]]:
    async with _session() as session:
        return [await _ask(session, served, wanted) for wanted in bodies]


def batch_command(jobs: Path, results: Path) -> list[str]:
    return [sys.executable, "-m", "costctl", "batch", str(jobs), "-o", str(results), "--restart", "--json"]


def costctl_batch(setting: Setting, served: Server, watch: Watch, *, turn: int) -> list[Measured]:
    """Run the whole command; once by its wall time, once by the time it says itself, without the start of Python."""
    jobs, results = setting.jobs(_BATCH_SEED + turn), setting.folder / f"results{turn}.jsonl"
    log, environment = setting.folder / f"batch{turn}.log", {**setting.environment, "COSTCTL_HOME": str(served.home)}
    began = time.monotonic()
    with running(batch_command(jobs, results), log=log, environment=environment) as process:
        watch.pids = {"daemon": served.daemon_pid, "API server": served.engine_pid}
        ended = to_its_end(process, log=log, deadline=setting.deadline)
    text = log.read_text()
    run = json.loads(text[text.rindex('{\n  "schema"') :])["run"]
    numbers = {name: run[name] for name in ("requests", "prompt_tokens", "generation_tokens")}
    seen, whole_s = watch.between(began, ended.at), ended.at - began
    command = _measured("costctl batch, whole command", seen, seconds=whole_s, whole_s=whole_s, **numbers)
    command.cpu_s["client"] = ended.cpu_s
    note = f"sent again {run['sent_again']}, failed {run['failed']}, peak {ended.peak_mib:.0f} MiB"
    own = _measured("costctl batch, as it says", seen, seconds=run["seconds"], whole_s=whole_s, note=note, **numbers)
    return [command, own]


def bench_command(setting: Setting, engine_port: int, result: Path, *, turn: int = 0) -> list[str]:
    asked = ["--dataset-name", "random", "--random-input-len", str(setting.input_tokens), "--random-output-len"]
    asked += [str(setting.output_tokens), "--num-prompts", str(setting.lines), "--ignore-eos", "--temperature", "0"]
    asked += ["--request-rate", "inf", "--seed", str(turn), "--disable-tqdm"]
    where = ["--backend", "openai-chat", "--endpoint", "/v1/chat/completions", "--port", str(engine_port)]
    model = ["--model", str(setting.model), "--served-model-name", SERVED_AS]
    kept = ["--save-result", "--result-dir", str(result.parent), "--result-filename", result.name]
    return [*setting.vllm, "bench", "serve", "--host", "127.0.0.1", *where, *model, *asked, *kept]


def bench_serve(setting: Setting, served: Server, watch: Watch, *, turn: int) -> Measured:
    """Run vLLM's own load generator against the engine itself."""
    log, result = setting.folder / f"bench{turn}.log", setting.folder / f"bench{turn}.json"
    command = bench_command(setting, served.engine_port, result, turn=turn)
    began = time.monotonic()
    with running(command, log=log, environment=setting.environment) as process:
        watch.pids = {"client": process.pid, "API server": served.engine_pid}
        ended = to_its_end(process, log=log, deadline=setting.deadline, listen_for=[MAIN_RUN])
    found = json.loads(result.read_text())
    if found["completed"] != setting.lines:
        raise FailedError(f"only {found['completed']} of {setting.lines} requests were answered\n{tail(log)}")
    start = ended.said.get(MAIN_RUN, ended.at - found["duration"])
    return _measured(
        "vllm bench serve, rate inf",
        watch.between(start, start + found["duration"]),
        seconds=found["duration"],
        whole_s=ended.at - began,
        requests=found["completed"],
        prompt_tokens=found["total_input_tokens"],
        generation_tokens=found["total_output_tokens"],
        note="streams; counts prompts without the chat template",
    )


# --- parts with an engine of their own -----------------------------------------------------------------------------


def run_batch_command(setting: Setting, result: Path, *, raised: bool) -> list[str]:
    files = ["-i", str(setting.jobs()), "-o", str(result)]
    limits = setting.limits if raised else ()
    return [*setting.vllm, "run-batch", *files, "--model", str(setting.model), *setting.named, *limits]


def run_batch(setting: Setting, watch: Watch, *, raised: bool) -> Measured:
    """Run `vllm run-batch`; measured from reading the file to writing the results, as its log tells."""
    name = "the server's limits" if raised else "default limits"
    log, result = setting.folder / f"run-batch-{raised}.log", setting.folder / f"run-batch-{raised}.jsonl"
    command = run_batch_command(setting, result, raised=raised)
    ended, began = _to_the_end(command, setting, watch, log, listen_for=[READING, WRITING])
    start, end = ended.said.get(READING), ended.said.get(WRITING, ended.at)
    if start is None:
        raise FailedError(f"its log does not say when it began\n{tail(log)}")
    bodies = [(json.loads(line)["response"] or {}).get("body") for line in result.read_text().splitlines()]
    usages = [answer["usage"] for answer in bodies if answer]
    if len(usages) != setting.lines:
        raise FailedError(f"only {len(usages)} of {setting.lines} requests were answered\n{tail(log)}")
    return _measured(
        f"vllm run-batch, {name}",
        watch.between(start, end),
        seconds=end - start,
        whole_s=ended.at - began,
        requests=len(usages),
        prompt_tokens=sum(usage["prompt_tokens"] for usage in usages),
        generation_tokens=sum(usage["completion_tokens"] for usage in usages),
        note="its start is not counted",
    )


def generate_command(setting: Setting, result: Path) -> list[str]:
    script = Path(__file__).with_name("batch_generate.py")
    words = [setting.python, str(script), str(setting.jobs()), str(result), str(setting.output_tokens)]
    return [*words, "--model", str(setting.model), *setting.named, *setting.limits]


def generate(setting: Setting, watch: Watch) -> Measured:
    """Run `LLM.generate` over all prompts."""
    log, result = setting.folder / "generate.log", setting.folder / "generate.json"
    ended, began = _to_the_end(generate_command(setting, result), setting, watch, log)
    found = json.loads(result.read_text())
    start, end = found.pop("began"), found.pop("ended")
    seen = watch.between(start, end)
    return _measured("LLM.generate", seen, seconds=end - start, whole_s=ended.at - began, **found)


def _to_the_end(
    command: Sequence[str], setting: Setting, watch: Watch, log: Path, *, listen_for: Sequence[str] = ()
) -> tuple[Ended, float]:
    """Run a program; return how it ended and when it began."""
    began = time.monotonic()
    with running(command, log=log, environment=setting.environment) as process:
        watch.pids = {"client": process.pid}
        ended = to_its_end(process, log=log, deadline=setting.deadline, listen_for=listen_for)
    return ended, began


def _measured(name: str, seen: Seen, **numbers: Any) -> Measured:
    return Measured(name=name, cpu_s=seen.cpu_s, gpu_percent=seen.gpu_percent, watts=seen.watts, **numbers)
