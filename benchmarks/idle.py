"""What the daemon costs while nothing happens: share of one core and resident memory, over a minute.

Once with the engine off, once with it ready and idle. The engine is the simulated one and is counted apart: on a rented
machine it is vLLM. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from processes import Tree, cpu_between, free_port, running

if TYPE_CHECKING:
    import subprocess

READY_TIMEOUT_S = 40.0
SETTLE_S = 3.0
MIB = 2**20
Row = dict[str, float]


def engine_state(port: int) -> str | None:
    """Ask the daemon what its engine is doing; nothing if it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return str(json.loads(connection.getresponse().read()).get("engine"))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def wait_for(port: int, wanted: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    seen = None
    while time.monotonic() < deadline and process.poll() is None:
        if (seen := engine_state(port)) == wanted:
            return
        time.sleep(0.2)
    sys.exit(f"the daemon's engine is {seen!r}, not {wanted!r}; the end of its words:\n{log.read_text()[-2000:]}")


def serve(port: int, *, eager: bool) -> list[str]:
    program = Path(sys.executable).with_name("costctl")
    if not program.exists():
        sys.exit(f"there is no costctl beside {sys.executable}; install the project there first")
    command = [str(program), "serve", "--engine", "sim", "--gpu", "sim", "--port", str(port), "--idle-shutdown", "2h"]
    return [*command, *(["--eager"] if eager else []), "--", "--start-seconds", "0"]


def only_child(pid: int) -> int:
    children = psutil.Process(pid).children()
    if len(children) != 1:
        sys.exit(f"process {pid} has {len(children)} children, not one: the daemon is not made as this script thinks")
    return children[0].pid


def trees_of(daemon: int, *, eager: bool) -> dict[str, Tree]:
    """Tell apart what is costctl's and what is the engine's: daemon, then keeper, then engine."""
    if not eager:
        return {"daemon, engine off": Tree(root=daemon)}
    keeper = only_child(daemon)
    engine = only_child(keeper)
    return {
        "daemon, engine ready": Tree(root=daemon, left_out=keeper),
        "keeper": Tree(root=keeper, left_out=engine),
        "simulated engine": Tree(root=engine),
    }


def measure(*, eager: bool, seconds: float) -> dict[str, Row]:
    """Run a daemon for some seconds and return the rows of its processes."""
    with tempfile.TemporaryDirectory(prefix="costctl-bench-") as home:
        port, log = free_port(), Path(home) / "serve.log"
        with running(serve(port, eager=eager), log=log, environment={"COSTCTL_HOME": f"{home}/costctl"}) as process:
            wait_for(port, "ready" if eager else "off", process, log)
            time.sleep(SETTLE_S)
            return watch(trees_of(process.pid, eager=eager), seconds)


def watch(trees: dict[str, Tree], seconds: float) -> dict[str, Row]:
    before = {name: tree.cpu() for name, tree in trees.items()}
    began = time.monotonic()
    time.sleep(seconds)
    rows = {}
    for name, tree in trees.items():
        used = cpu_between(before[name], tree.cpu())
        rows[name] = {
            "percent": used / (time.monotonic() - began) * 100,
            "rss_mib": tree.rss_bytes() / MIB,
            "processes": len(tree.pids()),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to watch each (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    options = parser.parse_args()
    rows: dict[str, Row] = {}
    for eager in (False, True):
        print(f"watching for {options.seconds:.0f} s", file=sys.stderr, flush=True)
        rows |= measure(eager=eager, seconds=options.seconds)
    print("| | share of one core, % | resident MiB | processes |\n| --- | ---: | ---: | ---: |")
    for name, row in rows.items():
        print(f"| {name} | {row['percent']:.3f} | {row['rss_mib']:.0f} | {row['processes']:.0f} |")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
