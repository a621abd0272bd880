"""A batch whose engine, client and daemon are killed (SIGKILL) at random, beside the same batch left in peace.

    python benchmarks/batch_kills.py --lines 20000 --engine 20 --client 10 --daemon 2

A client that was killed is run again with the same command, a daemon is started again. The simulated engine is used;
only processes that this started are killed. Exits with 1 if the results differ, or the ledger objects to anything.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import page

from costctl.ledger.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

SIM = ("--start-seconds", ".3", "--first-token-seconds", ".01", "--tokens-per-second", "100", "--max-concurrent", "64")
PATIENCE_S = 60.0
STEP_S = 0.05
COSTCTL = (sys.executable, "-m", "costctl")


@dataclass(kw_only=True, slots=True)
class Stage:
    """A home with a daemon and a client in it."""

    folder: Path
    killed: list[str] = field(default_factory=list)
    client: subprocess.Popen[bytes] = field(init=False)
    daemon: subprocess.Popen[bytes] = field(init=False)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"COSTCTL_HOME": str(self.home), "COSTCTL_PRICE": "1.8 CNY/h"}
        with (self.folder / "words").open("ab") as words:
            return subprocess.Popen(
                (*COSTCTL, *arguments), cwd=self.folder, env=environment, stdout=words, stderr=words
            )

    def serve(self) -> None:
        engine = ("--engine", "sim", "--gpu", "sim", "--no-listen", "--idle-shutdown", "off")
        self.daemon = self.start("serve", *engine, "--", *SIM)
        until(lambda: self.ask("/status"), "the daemon")

    def batch(self, *arguments: str) -> None:
        self.client = self.start("batch", "jobs.jsonl", *arguments)

    def ask(self, path: str) -> Any:
        """Return the daemon's answer, None if there is none."""
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.home / "control.sock"))
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
            return json.loads(answer.partition(b"\r\n\r\n")[2])
        return None

    def done_lines(self) -> int:
        return sum(batch["requests"] for batch in (self.ask("/batches") or {"batches": []})["batches"])

    def wait_for_progress(self) -> None:
        before = self.done_lines()
        until(lambda: self.done_lines() > before or self.client.poll() is not None, "progress")

    # --- blows ---

    def kill_engine(self) -> None:
        pid = until(lambda: ((self.ask("/status") or {}).get("engine") or {}).get("pid"), "an engine")
        os.kill(pid, signal.SIGKILL)

    def kill_client(self) -> None:
        end(self.client)
        until(lambda: not self.ask("/batches")["batches"], "the lease to end")
        self.batch()

    def kill_daemon(self) -> None:
        end(self.daemon)
        self.serve()


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(STEP_S)
    sys.exit(f"waited {PATIENCE_S:.0f} s for {what}")


def write_jobs(path: Path, lines: int, chance: Random) -> None:
    with path.open("w") as file:
        for number in range(lines):
            prompt = "x" * (4 * (number % 500) + 1) + str(number)
            line = {"custom_id": f"c{number}", "prompt": prompt, "max_tokens": chance.randint(1, 40)}
            file.write(json.dumps(line) + "\n")


def answers(path: Path) -> dict[str, tuple[Any, str]]:
    """Return what each line was answered, without what differs from run to run."""
    found = {}
    for text in path.read_text().splitlines():
        result = json.loads(text)
        body = result["response"]["body"]
        assert result["custom_id"] not in found, f"{result['custom_id']} is there twice"
        found[result["custom_id"]] = (body["usage"], body["choices"][0]["message"]["content"])
    return found


def undisturbed(stage: Stage) -> float:
    began = time.monotonic()
    stage.batch("-o", "whole.jsonl")
    if stage.client.wait() != 0:
        sys.exit((stage.folder / "words").read_text())
    return time.monotonic() - began


def disturbed(stage: Stage, blows: list[str], chance: Random) -> tuple[float, int]:
    """Run the batch under these blows, each after some progress; return how long it took, and how it ended."""
    began = time.monotonic()
    stage.batch()
    for blow in blows:
        stage.wait_for_progress()
        time.sleep(chance.uniform(0, 0.5))
        if stage.client.poll() is not None:
            break
        getattr(stage, f"kill_{blow}")()
        stage.killed.append(blow)
    return time.monotonic() - began, stage.client.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--engine", type=int, default=20, metavar="N", help="how often each is killed")
    parser.add_argument("--client", type=int, default=0, metavar="N")
    parser.add_argument("--daemon", type=int, default=0, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = Random(options.seed)
    blows = [name for name in ("engine", "client", "daemon") for _ in range(getattr(options, name))]
    chance.shuffle(blows)
    with tempfile.TemporaryDirectory(prefix="costctl-kills-") as name:
        stage = Stage(folder=Path(name))
        write_jobs(stage.folder / "jobs.jsonl", options.lines, chance)
        stage.serve()
        try:
            peace_s = undisturbed(stage)
            war_s, code = disturbed(stage, blows, chance)
            same = code == 0 and answers(stage.folder / "jobs.results.jsonl") == answers(stage.folder / "whole.jsonl")
            if not same:
                print((stage.folder / "words").read_text(), file=sys.stderr)
        finally:
            stage.client.terminate()
            stage.daemon.terminate()
            stage.daemon.wait(PATIENCE_S)
        with Ledger.read(f"sqlite:///{stage.home / 'ledger.db'}") as ledger:
            problems = ledger.check()
    kills = ", ".join(f"{blow} {stage.killed.count(blow)} times" for blow in dict.fromkeys(stage.killed))
    row = [f"{options.lines:,}", kills, f"{peace_s:.0f}", f"{war_s:.0f}", str(code), "same" if same else "DIFFERENT"]
    columns = ["lines", "killed", "seconds in peace", "seconds", "exit code", "results", "the ledger objects to"]
    print(page.table(columns, [[*row, "; ".join(map(str, problems)) or "nothing"]]))
    sys.exit(not same or bool(problems))


if __name__ == "__main__":
    main()
