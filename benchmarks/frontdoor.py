"""Measure costctl's front door against others, side by side, over the same upstream.

All doors run at once; each round visits all of them, starting from another one, so that noise of the machine hits all
alike. The tables go to stdout as Markdown, progress to stderr. See README.md here for what is measured and how.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import litellm_env
import machine
from doors import BUILDERS, UPSTREAM, Door, MissingError
from load import BadAnswerError
from measure import Numbers, Sizes, one_round, wait_until_it_answers
from processes import Tree, free_port, running
from table import DIRECT, Report, markdown

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

FAILURES = (BadAnswerError, MissingError, RuntimeError, TimeoutError, OSError)
SLOW_ROUNDS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How long a run takes."""

    rounds: int
    sizes: Sizes
    limit_s: float  # no round begins later than this


FULL = Plan(rounds=6, sizes=Sizes(wrk_seconds=1, streams=400), limit_s=225.0)
QUICK = Plan(rounds=1, sizes=Sizes(wrk_seconds=1, streams=160), limit_s=30.0)
SLOW_SIZES = Sizes(wrk_seconds=2, streams=16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """A door that is up and has answered."""

    name: str
    port: int
    tree: Tree
    slow: bool = False


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Run:
    """One run of the benchmark: what was started, what was measured, what took no part."""

    def __init__(self, home: Path, stack: contextlib.ExitStack) -> None:
        self.rounds: dict[str, list[Numbers]] = {}
        self.missing: dict[str, str] = {}
        self._home = home
        self._stack = stack
        self._contestants: list[Contestant] = []

    def start(self, names: Sequence[str]) -> None:
        """Start the upstream and then the doors, all at once; one that cannot start is left out."""
        upstream = self._start_upstream()
        started = [found for name in names if (found := self._start_door(name, upstream))]
        for door, port, process in started:
            self._admit(door, port, process)

    def measure(self, plan: Plan) -> None:
        """Go round the doors until the plan's rounds or its time are used up."""
        began = time.monotonic()
        for index in range(plan.rounds):
            if time.monotonic() - began > plan.limit_s:
                say(f"stopping after {index} rounds: out of time")
                return
            for contestant in _rotated(self._contestants, index):
                if not contestant.slow or index < SLOW_ROUNDS:
                    self._visit(contestant, plan.sizes, f"round {index + 1} of {plan.rounds}")

    def _start_upstream(self) -> int:
        port = free_port()
        command = [sys.executable, str(UPSTREAM), "--port", str(port)]
        process = self._launch("upstream", command, {})
        wait_until_it_answers(port, process, timeout_s=10)
        self._enter(Contestant(name=DIRECT, port=port, tree=Tree(root=process.pid)))
        return port

    def _launch(self, name: str, command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        context = running(command, log=self._home / f"{name}.log", environment=environment)
        return self._stack.enter_context(context)

    def _start_door(self, name: str, upstream: int) -> tuple[Door, int, subprocess.Popen[bytes]] | None:
        home = self._home / name
        home.mkdir()
        port = free_port()
        try:
            door = BUILDERS[name](home, port, upstream)
            return door, port, self._launch(door.name, door.command, door.environment)
        except FAILURES as exc:
            self._leave_out(name, exc)
            return None

    def _admit(self, door: Door, port: int, process: subprocess.Popen[bytes]) -> None:
        say(f"waiting for {door.name}")
        try:
            engine = wait_until_it_answers(port, process, door.start_timeout_s)
        except FAILURES as exc:
            self._leave_out(door.name, exc, self._last_words(door.name))
            return
        self._enter(Contestant(name=door.name, port=port, tree=Tree(root=process.pid, left_out=engine), slow=door.slow))

    def _enter(self, contestant: Contestant) -> None:
        self._contestants.append(contestant)
        self.rounds[contestant.name] = []

    def _visit(self, contestant: Contestant, sizes: Sizes, where: str) -> None:
        say(f"{where}: {contestant.name}")
        try:
            numbers = one_round(contestant.port, contestant.tree, SLOW_SIZES if contestant.slow else sizes)
        except FAILURES as exc:
            if contestant.name == DIRECT:
                raise
            self._contestants.remove(contestant)
            self._leave_out(contestant.name, exc, self._last_words(contestant.name))
            return
        self.rounds[contestant.name].append(numbers)

    def _leave_out(self, name: str, exc: Exception, words: str = "") -> None:
        self.missing[name] = str(exc) or type(exc).__name__
        say(f"leaving out {name}: {self.missing[name]}\n{words}")

    def _last_words(self, name: str) -> str:
        log = self._home / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _rotated(contestants: Sequence[Contestant], by: int) -> list[Contestant]:
    by %= len(contestants)
    return [*contestants[by:], *contestants[:by]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute; rough numbers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number of every round there")
    parser.add_argument("--only", nargs="+", choices=BUILDERS, default=list(BUILDERS), help="leave out all others")
    return parser.parse_args()


def main() -> None:
    options = _options()
    facts = machine.facts(("aiohttp", "uvloop", "costctl"), (["nginx", "-v"], ["haproxy", "-v"], ["wrk", "-v"]))
    if "litellm" in options.only:
        with contextlib.suppress(litellm_env.SetUpError):  # said again, and recorded, when the door is started
            litellm_env.ensure()
        facts["LiteLLM"] = litellm_env.VERSION
    with tempfile.TemporaryDirectory(prefix="costctl-bench-") as folder, contextlib.ExitStack() as stack:
        run = Run(Path(folder), stack)
        run.start(options.only)
        run.measure(QUICK if options.quick else FULL)
    report = Report(facts=facts, rounds=run.rounds, missing=run.missing)
    print(markdown(report))
    if options.json is not None:
        options.json.write_text(json.dumps({**asdict(report), "medians": report.medians()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
