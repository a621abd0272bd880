"""Wall time of short costctl commands against `python -c pass`: what a person or a cron job waits for.

The commands take turns, so that noise of the machine hits all alike. Prints a Markdown table of medians and ratios.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

BASE = "python -c pass"
TIMEOUT_S = 30


def commands() -> dict[str, list[str]]:
    program = Path(sys.executable).with_name("costctl")
    if not program.exists():
        sys.exit(f"there is no costctl beside {sys.executable}; install the project there first")
    ours = {f"costctl {words}": [str(program), words] for words in ("--version", "--help", "status")}
    return {BASE: [sys.executable, "-c", "pass"], **ours}


def seconds(command: list[str], home: str) -> float:
    """Time one run; `status` may exit with 1, as no daemon is up in the empty home."""
    began = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, timeout=TIMEOUT_S, check=False, env={**os.environ, "COSTCTL_HOME": home}
    )
    took = time.perf_counter() - began
    if b"Traceback" in done.stderr:
        sys.exit(f"{command} failed:\n{done.stderr.decode(errors='replace')}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="how often each command runs (default: %(default)s)")
    runs = parser.parse_args().runs
    took: dict[str, list[float]] = {name: [] for name in commands()}
    with tempfile.TemporaryDirectory(prefix="costctl-bench-") as home:
        for turn in range(runs + 1):
            for name, command in commands().items():
                once = seconds(command, home)
                if turn:  # the first turn fills caches and compiles
                    took[name].append(once)
    base = median(took[BASE])
    print(f"| command | median ms of {runs} | p90 ms | times {BASE} |\n| --- | ---: | ---: | ---: |")
    for name, values in took.items():
        p90 = quantiles(values, n=10)[8] if len(values) > 1 else values[0]
        print(f"| {name} | {median(values) * 1e3:.0f} | {p90 * 1e3:.0f} | {median(values) / base:.1f} |")


if __name__ == "__main__":
    main()
