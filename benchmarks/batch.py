"""Throughput of `costctl batch` beside what people would use instead, on real vLLM, with one model and one machine.

    python benchmarks/batch.py --model MODEL --json FILE -- --load-format dummy --max-model-len 8192

Arguments after -- go to every engine. A second run with the same --json FILE adds to what is there (--only). Everything
listens on 127.0.0.1. Prints a Markdown page; see README.md here.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import batch_page
import batch_parts
import machine
from batch_parts import Measured, Setting
from batch_requests import words_of_one_token
from watch import FailedError, Watch

from costctl.adapters.gpus.nvml import NvmlGpus
from costctl.errors import GpuError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from costctl.domain.gpus import GpuReading
    from costctl.ports import Gpus

SHARED = ("one", "batch", "bench")
OWN = ("run-batch", "generate", "run-batch-default")
LEAST_S = 45.0
"""With less time left nothing new is begun."""
SAME = ("GPU", "requests", "engine")
"""Facts that parts have to share for their numbers to stand side by side."""
FREE_WITHIN_S = 60.0
FREE_MIB = 2_000
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_HOST_IP": "127.0.0.1"}
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:6.1f} s] {text}", file=sys.stderr, flush=True)


class Session:
    """All parts of a run: what was measured, what failed and why; kept after each part."""

    def __init__(self, watch: Watch, *, facts: Mapping[str, str], gpu: str | None, path: Path | None) -> None:
        self.watch = watch
        self.measured: dict[str, list[Measured]] = {}
        self.failed: dict[str, str] = {}
        self._facts = dict(facts)
        self._gpu = gpu
        self._path = path
        if path is not None and path.exists():
            self._take(json.loads(path.read_text()))

    def _take(self, kept: Mapping[str, Any]) -> None:
        """Add to an earlier run's parts. Raises SystemExit if those were measured in another way."""
        for name in SAME:
            if kept["facts"][name] != self._facts[name]:
                sys.exit(f"{self._path} holds another {name}: {kept['facts'][name]}; give another --json FILE")
        self.measured = {name: [Measured(**each) for each in found] for name, found in kept["parts"].items()}

    def part(self, name: str, deadline: float, measure: Callable[[], Iterable[Measured]]) -> None:
        """Measure a part; if it fails, say so and go on."""
        if time.monotonic() > deadline - LEAST_S:
            self.fail(name, "no time was left for it")
            return
        say(f"{name} begins")
        try:
            found = list(measure())
        except Exception as error:  # noqa: BLE001  the other parts are worth having
            self.fail(name, str(error) if isinstance(error, FailedError) else f"{type(error).__name__}: {error}")
            return
        self.measured[name] = found
        for each in found:
            say(f"{each.name}: {each.requests / each.seconds:.2f} requests/s in {each.seconds:.2f} s")
        self.keep()

    def fail(self, name: str, why: str) -> None:
        self.failed[name] = why
        say(f"{name} failed: {why}")

    def keep(self) -> None:
        if self._path is not None:
            parts = {name: [asdict(each) for each in found] for name, found in self.measured.items()}
            found = {"facts": self._facts, "gpu": self._gpu, "parts": parts, "failed": self.failed}
            self._path.write_text(json.dumps(found, indent=2) + "\n")

    def page(self) -> str:
        rows = [each for name in (*SHARED, *OWN) for each in self.measured.get(name, ())]
        return batch_page.markdown(self._facts, rows, self.failed, self._gpu)


def shared_parts(session: Session, setting: Setting, only: set[str], rounds: int) -> None:
    """Measure what needs a server, all with the same one."""
    wanted = [name for name in SHARED if name in only]
    if not wanted:
        return
    say("the server starts")
    with ExitStack() as stack:
        try:
            served = stack.enter_context(batch_parts.server(setting))
            say("the engine is ready")
            batch_parts.warm_up(setting, served)
        except Exception as error:  # noqa: BLE001  run-batch and LLM.generate are still worth having
            session.fail(f"the server (for {', '.join(wanted)})", str(error))
            return
        watch, turns = session.watch, range(rounds)
        ways: dict[str, Callable[[], Iterable[Measured]]] = {
            "one": lambda: [batch_parts.one_by_one(setting, served, watch)],
            "batch": lambda: [
                each for turn in turns for each in batch_parts.costctl_batch(setting, served, watch, turn=turn)
            ],
            "bench": lambda: [batch_parts.bench_serve(setting, served, watch, turn=turn) for turn in turns],
        }
        for name in wanted:
            session.part(name, setting.deadline, ways[name])
    say("the server has stopped")


def own_parts(session: Session, setting: Setting, only: set[str], gpus: Gpus | None) -> None:
    """Measure what starts an engine of its own."""
    ways: dict[str, Callable[[], Measured]] = {
        "run-batch": lambda: batch_parts.run_batch(setting, session.watch, raised=True),
        "generate": lambda: batch_parts.generate(setting, session.watch),
        "run-batch-default": lambda: batch_parts.run_batch(setting, session.watch, raised=False),
    }
    for name in OWN:
        if name in only:
            wait_until_free(gpus)
            session.part(name, setting.deadline, lambda name=name: [ways[name]()])


def wait_until_free(gpus: Gpus | None) -> None:
    """Wait until the last engine's memory is given back: vLLM measures at its start what is free."""
    deadline = time.monotonic() + FREE_WITHIN_S
    while gpus and time.monotonic() < deadline:
        if max(reading.memory_used_bytes for reading in gpus.read()) < FREE_MIB * 2**20:
            return
        time.sleep(0.5)


def find_gpus() -> tuple[Gpus | None, tuple[GpuReading, ...]]:
    gpus = NvmlGpus()
    try:
        readings = gpus.read()
    except GpuError:
        return None, ()
    return (gpus, readings) if readings else (None, ())


def print_commands(setting: Setting) -> None:
    result = setting.folder / "result"
    commands = [
        batch_parts.serve_command(setting, 8000),
        batch_parts.batch_command(setting.jobs(), result),
        batch_parts.bench_command(setting, 8001, result),
        batch_parts.run_batch_command(setting, result, raised=True),
        batch_parts.generate_command(setting, result),
        batch_parts.run_batch_command(setting, result, raised=False),
    ]
    print("\n\n".join(shlex.join(command) for command in commands))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="folder of the model")
    parser.add_argument("--python", default=sys.executable, help="the Python that has vLLM (default: this one)")
    parser.add_argument("--lines", type=int, help="requests of each part (default: 2000, on the CPU 40)")
    parser.add_argument("--one-by-one", type=int, default=30, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--input-tokens", type=int, default=256, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--output-tokens", type=int, default=128, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--max-num-seqs", type=int, help="(default: 1024, on the CPU 16)")
    parser.add_argument("--max-num-batched-tokens", type=int, help="(default: 8192, on the CPU 2048)")
    parser.add_argument("--only", nargs="+", choices=(*SHARED, *OWN), default=(*SHARED, *OWN), help="(default: all)")
    parser.add_argument("--rounds", type=int, default=1, help="of `batch` and `bench` (default: %(default)s)")
    parser.add_argument("--budget", type=float, default=560.0, metavar="S", help="for all (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, and add to what is there")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep files and logs there (default: nowhere)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and do nothing else")
    parser.add_argument("engine_args", nargs="*", metavar="-- ENGINE ARGS", help="for every engine")
    return parser.parse_args()


def _setting(options: argparse.Namespace, folder: Path, *, on_gpu: bool) -> Setting:
    seqs = options.max_num_seqs or (1024 if on_gpu else 16)
    tokens = options.max_num_batched_tokens or (8192 if on_gpu else 2048)
    return Setting(
        python=options.python,
        model=options.model.resolve(),
        engine_args=tuple(options.engine_args),
        limits=("--max-num-seqs", str(seqs), "--max-num-batched-tokens", str(tokens)),
        words=words_of_one_token(options.model),
        lines=options.lines or (2000 if on_gpu else 40),
        one_by_one=options.one_by_one,
        input_tokens=options.input_tokens,
        output_tokens=options.output_tokens,
        folder=folder,
        deadline=BEGAN + options.budget,
        environment={**OFFLINE, **({} if on_gpu else ON_CPU)},
        gpu="nvml" if on_gpu else "none",
    )


def _facts(setting: Setting, readings: tuple[GpuReading, ...]) -> dict[str, Any]:
    return {
        **machine.facts(("vllm", "torch", "aiohttp")),
        "GPU": ", ".join(reading.name for reading in readings) or "none",
        "requests": f"{setting.lines:,} of {setting.input_tokens} tokens and the chat template, answered with "
        f"{setting.output_tokens} (ignore_eos), temperature 0",
        "engine": f"{setting.model.name} {shlex.join((*setting.engine_args, *setting.limits))}",
    }


def main() -> int:
    options = _options()
    gpus, readings = find_gpus()
    with ExitStack() as stack:
        folder = options.logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="costctl-bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        setting = _setting(options, folder.resolve(), on_gpu=gpus is not None)
        if options.dry_run:
            print_commands(setting)
            return 0
        gpu = readings[0].name if readings else None
        session = Session(Watch(gpus), facts=_facts(setting, readings), gpu=gpu, path=options.json)
        shared_parts(session, setting, set(options.only), options.rounds)
        own_parts(session, setting, set(options.only), gpus)
        session.keep()
        print(session.page())
    return 1 if session.failed else 0


if __name__ == "__main__":
    sys.exit(main())
