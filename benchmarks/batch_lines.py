"""What `costctl batch` itself takes for each line: CPU and peak memory with an engine that answers at once.

    python benchmarks/batch_lines.py --lines 50000 1000000

Each count of lines is a batch of its own through one `costctl serve`. Prints a Markdown table; see README.md here.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import machine
import page
from idle import engine_state, only_child
from processes import Tree, cpu_between, free_port, running
from watch import FailedError, tail, to_its_end

if TYPE_CHECKING:
    import subprocess

READY_TIMEOUT_S = 40.0
TIMEOUT_S = 3600.0
PROMPT_CHARACTERS = 200
Row = dict[str, float]


def write_jobs(path: Path, lines: int) -> None:
    """Write so many different requests, without holding them."""
    filler = ("Tell which of our products the customer means, and how it is liked. " * 4)[:PROMPT_CHARACTERS]
    with path.open("w") as file:
        for number in range(lines):
            body = {"model": "stub", "messages": [{"role": "user", "content": f"{number}: {filler}"}], "max_tokens": 16}
            line = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(json.dumps(line) + "\n")


def serve_command(port: int) -> list[str]:
    stub = shlex.join([sys.executable, str(Path(__file__).with_name("batch_stub.py")), "--uds", "{uds}"])
    engine = ["--engine", "command", "--engine-command", stub, "--model", "stub", "--gpu", "none", "--eager"]
    return [sys.executable, "-m", "costctl", "serve", *engine, "--port", str(port)]


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while engine_state(port) != "ready":
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"the stub engine is not ready\n{tail(log)}")
        time.sleep(0.1)


def measure(lines: int, folder: Path, home: Path, daemon: Tree) -> Row:
    """Run a batch of so many lines; CPU is that of the whole command, with its start and the check of the file."""
    jobs, log = folder / f"jobs{lines}.jsonl", folder / f"batch{lines}.log"
    write_jobs(jobs, lines)
    command = [sys.executable, "-m", "costctl", "batch", str(jobs), "--json"]
    before, began = daemon.cpu(), time.monotonic()
    with running(command, log=log, environment={"COSTCTL_HOME": str(home)}) as process:
        ended = to_its_end(process, log=log, deadline=began + TIMEOUT_S)
    used = cpu_between(before, daemon.cpu())
    return {
        "lines": lines,
        "seconds": ended.at - began,
        "batch_ms_per_line": ended.cpu_s / lines * 1e3,
        "daemon_ms_per_line": used / lines * 1e3,
        "peak_mib": ended.peak_mib,
    }


def markdown(rows: list[Row]) -> str:
    cells = [
        [
            f"{row['lines']:,.0f}",
            f"{row['batch_ms_per_line']:.3f}",
            f"{row['daemon_ms_per_line']:.3f}",
            f"{row['peak_mib']:.0f}",
            f"{row['seconds']:.1f}",
            f"{row['lines'] / row['seconds']:,.0f}",
        ]
        for row in rows
    ]
    columns = ["lines", "CPU ms per line, batch", "CPU ms per line, daemon", "peak MiB, batch", "seconds", "lines/s"]
    return "\n\n".join([page.bullets(machine.facts(("aiohttp", "costctl"))), page.table(columns, cells)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[1, 50_000], metavar="N", help="(default: %(default)s)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where files go: 1,000,000 lines take 1.5 GB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="costctl-bench-", dir=options.folder) as name:
        folder, port = Path(name), free_port()
        home, log = folder / "home", folder / "serve.log"
        with running(serve_command(port), log=log, environment={"COSTCTL_HOME": str(home)}) as process:
            wait_until_ready(port, process, log)
            keeper = only_child(process.pid)
            daemon = Tree(root=process.pid, left_out=keeper)
            try:
                rows = [measure(lines, folder, home, daemon) for lines in options.lines]
            except FailedError as error:
                sys.exit(f"{error}\n{tail(log)}")
    print(markdown(rows))
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
