"""What a hit of the answer cache costs, by the answer's size and by the store: its file, and a Redis server.

One daemon for each store, before the simulated engine, both at the same time; the rounds go from one to the other. The
answer is one of embeddings, asked for again and again on one kept connection. Prints a Markdown table.

    python benchmarks/cache_hits.py --sizes 1 64 1024 --rounds 20
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import machine
import page
from processes import Tree, cpu_between, free_port, running

MODEL = "Qwen/Qwen3-1.7B"
ENGINE = ("--start-seconds", "0.2", "--first-token-seconds", "0", "--tokens-per-second", "0")
PATIENCE_S = 30.0
BYTES_PER_INPUT = 201
HITS_A_ROUND = 50


@dataclass(kw_only=True)
class Contestant:
    """A daemon with a cache, a connection to it, and what its hits took."""

    name: str
    connection: http.client.HTTPConnection
    tree: Tree
    took_ms: dict[int, list[float]] = field(default_factory=dict)
    cpu_ms: dict[int, list[float]] = field(default_factory=dict)

    def ask(self, kib: int) -> tuple[str | None, int]:
        """Ask for an answer of about `kib` KiB; return what the cache says, and its length."""
        inputs = [f"{number}" for number in range(max(1, kib * 1024 // BYTES_PER_INPUT))]
        body = json.dumps({"model": MODEL, "input": inputs})
        self.connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        return answer.headers["x-costctl-cache"], len(answer.read())

    def warm(self, kib: int) -> int:
        """Return how many bytes the answer has, when it is in the cache."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            said, length = self.ask(kib)
            if said == "hit":
                return length
            time.sleep(0.05)
        raise TimeoutError(f"{self.name} keeps no answer of {kib} KiB")

    def measure(self, kib: int) -> None:
        """Take one round of hits."""
        before = self.tree.cpu()
        for _ in range(HITS_A_ROUND):
            began = time.perf_counter()
            said, _ = self.ask(kib)
            self.took_ms.setdefault(kib, []).append((time.perf_counter() - began) * 1000)
            if said != "hit":
                raise RuntimeError(f"{self.name} said {said}")
        used_s = cpu_between(before, self.tree.cpu())
        self.cpu_ms.setdefault(kib, []).append(used_s * 1000 / HITS_A_ROUND)


def start(name: str, store: str, home: Path, stack: contextlib.ExitStack) -> Contestant:
    """Start a daemon that caches everything in `store`."""
    home.mkdir(mode=0o700)
    config, port = home / "costctl.toml", free_port()
    config.write_text(f'[cache]\nmodels = ["*"]\nstore = "{store}"\n')
    serve = f"serve --engine sim --gpu sim --on-idle unload --eager --port {port}"
    environment = {"COSTCTL_HOME": str(home), "COSTCTL_CONFIG": str(config), "XDG_RUNTIME_DIR": str(home)}
    command = (sys.executable, "-m", "costctl", *serve.split(), "--", *ENGINE)
    process = stack.enter_context(running(command, log=home / "log", environment=environment))
    deadline = time.monotonic() + PATIENCE_S
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    while True:
        try:
            connection.connect()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return Contestant(name=name, connection=connection, tree=Tree(root=process.pid))


def start_all(folder: Path, stack: contextlib.ExitStack) -> list[Contestant]:
    found = [start("file", "disk", folder / "file", stack)]
    server = next(filter(None, map(shutil.which, ("redis-server", "valkey-server"))), None)
    if server is not None:
        socket = folder / "redis.sock"
        command = (server, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no")
        stack.enter_context(running(command, log=folder / "redis.log", environment={}))
        found.append(start("Redis", f"unix://{socket}", folder / "redis", stack))
    return found


def row(contestant: Contestant, kib: int, length: int) -> list[str]:
    took = contestant.took_ms[kib]
    numbers = median(took), quantiles(took, n=100)[98], median(contestant.cpu_ms[kib])
    return [contestant.name, f"{length / 1024:,.1f}", *(f"{number:.2f}" for number in numbers)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 64, 1024], metavar="KIB")
    parser.add_argument("--rounds", type=int, default=20, help=f"of {HITS_A_ROUND} hits each")
    wanted = parser.parse_args()
    facts = machine.facts(("aiohttp", "redis", "costctl"), (["redis-server", "--version"],))
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-hits") as folder, contextlib.ExitStack() as stack:
        contestants = start_all(Path(folder), stack)
        for kib in wanted.sizes:
            lengths = [contestant.warm(kib) for contestant in contestants]
            for turn in range(wanted.rounds):
                for contestant in contestants[:: 1 if turn % 2 else -1]:
                    contestant.measure(kib)
            rows += [row(contestant, kib, length) for contestant, length in zip(contestants, lengths, strict=True)]
    print(page.bullets(facts) + "\n")
    print(page.table(["store", "KiB", "p50 ms", "p99 ms", "CPU of the daemon, ms"], rows))


if __name__ == "__main__":
    main()
