"""Wall time, CPU and memory of `costctl report` for one month in ledgers of 1, 3 and 10 years, beside plain SQL.

Every run is a whole process with the ledger in the page cache. They take turns, each round from another one on, so that
noise of the machine hits all alike. Prints a Markdown page; see README.md here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import ledger_years
import machine
import page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MONTH = "2026-09"
BEGIN = datetime(2026, 9, 1, tzinfo=UTC)
END = datetime(2026, 10, 1, tzinfo=UTC)
CACHE = Path.home() / ".cache" / "costctl-bench" / "ledgers"
FORMS = ("text", "markdown", "html", "json", "csv")
MODULE, PROGRAM = "sqlite3 in Python", "sqlite3 alone"
TIMEOUT_S = 120

# What the month's rows say at the least: seconds and money by phase, and what was asked. Money in floats: SQLite's
# integers do not hold microseconds times micro-units of a month.
SQL = """
WITH month AS MATERIALIZED (
  SELECT id, heartbeat_at, currency, price_micros_per_hour AS price FROM sessions
  WHERE heartbeat_at > {begin} AND started_at < {end}
), stretches AS (
  SELECT currency, price, phase, max(started_at, {begin}) AS began,
    min(lead(started_at, 1, heartbeat_at) OVER (PARTITION BY session_id ORDER BY started_at), {end}) AS ended
  FROM month JOIN phases ON session_id = id
)
SELECT currency, phase, count(*), sum(ended - began) / 1e6, sum((ended - began) / 36e14 * price)
  FROM stretches WHERE ended > began GROUP BY currency, phase
UNION ALL
SELECT currency, model, sum(requests), sum(prompt_tokens), sum(generation_tokens)
  FROM month JOIN usage_hours ON session_id = id WHERE hour_at >= {begin} AND hour_at < {end} GROUP BY currency, model
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Once:
    """What one process took."""

    wall_ms: float
    cpu_ms: float
    peak_mb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """A command on a ledger."""

    name: str
    years: int
    command: tuple[str, ...]
    environment: Mapping[str, str]


def contestants(ledgers: Mapping[int, Path], home: Path) -> list[Contestant]:
    """Return every form of the report, and plain SQL, on every ledger."""
    program = Path(sys.executable).with_name("costctl")
    if not program.exists():
        sys.exit(f"there is no costctl beside {sys.executable}; install the project there first")
    report = (str(program), "report", "--month", MONTH, "--tz", "UTC", "--format")
    found = []
    for years, path in ledgers.items():
        environment = {"COSTCTL_HOME": str(home), "COSTCTL_LEDGER": f"sqlite:///{path}"}
        commands = {f"costctl, {form}": (*report, form) for form in FORMS} | _plain(path)
        found += [
            Contestant(name=name, years=years, command=words, environment=environment)
            for name, words in commands.items()
        ]
    return found


def _plain(path: Path) -> dict[str, tuple[str, ...]]:
    begin, end = (int(instant.timestamp()) * ledger_years.SECOND for instant in (BEGIN, END))
    sql = SQL.format(begin=begin, end=end)
    script = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2]), sep='\\n')"
    commands = {MODULE: (sys.executable, "-c", script, str(path), sql)}
    if alone := shutil.which("sqlite3"):
        commands[PROGRAM] = (alone, str(path), sql)
    return commands


def run_once(contestant: Contestant, folder: Path) -> Once:
    """Run a process to its end; what it prints goes to a file."""
    environment = {**os.environ, **contestant.environment}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        began = time.perf_counter()
        process = subprocess.Popen(contestant.command, stdout=out, stderr=err, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # it was waited for here, for its rusage
    if process.returncode or not (folder / "out").stat().st_size:
        sys.exit(f"{' '.join(contestant.command)}\nfailed: {(folder / 'err').read_text()}")
    # Linux counts memory in KiB.
    return Once(wall_ms=wall_s * 1e3, cpu_ms=(usage.ru_utime + usage.ru_stime) * 1e3, peak_mb=usage.ru_maxrss / 1024)


def ensure_ledgers(folder: Path, years: Sequence[int]) -> dict[int, Path]:
    """Return ledgers of so many years, made if they are not in `folder` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    ledgers = {count: folder / f"{count}y.db" for count in years}
    for count, path in ledgers.items():
        if not path.exists():
            ledger_years.make(path, years=count, until=date(2026, 11, 1))
    return ledgers


def markdown(facts: Mapping[str, str], rounds: Mapping[tuple[str, int], Sequence[Once]]) -> str:
    """Render the page."""
    names = list(dict.fromkeys(name for name, _ in rounds))
    years = sorted({count for _, count in rounds})
    first, last = years[0], years[-1]
    columns = [
        "",
        *(f"{count} y, ms" for count in years),
        f"{last} y / {first} y",
        f"times {MODULE}",
        "CPU ms",
        "peak MiB",
    ]
    rows = [
        [
            name,
            *(f"{median(once.wall_ms for once in rounds[name, count]):.0f}" for count in years),
            _ratio(rounds[name, last], rounds[name, first]),
            _ratio(rounds[name, last], rounds[MODULE, last]),
            f"{median(once.cpu_ms for once in rounds[name, last]):.0f}",
            f"{max(once.peak_mb for once in rounds[name, last]):.0f}",
        ]
        for name in names
    ]
    title = f"The month {MONTH}, whole processes; ratios, CPU and memory are of the ledger of {last} years"
    return "\n\n".join([page.bullets(facts), title, page.table(columns, rows)])


def _ratio(ours: Sequence[Once], theirs: Sequence[Once]) -> str:
    return page.short(median(one.wall_ms / other.wall_ms for one, other in zip(ours, theirs, strict=True)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each process runs (default: %(default)s)")
    parser.add_argument("--years", type=int, nargs="+", default=[1, 3, 10], help="(default: %(default)s)")
    parser.add_argument("--ledgers", type=Path, default=CACHE, metavar="DIR", help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number of every round there")
    return parser.parse_args()


def main() -> None:
    options = _options()
    facts = machine.facts(("SQLAlchemy", "costctl"), (["sqlite3", "--version"],))
    ledgers = ensure_ledgers(options.ledgers, options.years)
    facts["ledgers"] = ", ".join(f"{count} y {path.stat().st_size / 1e6:,.0f} MB" for count, path in ledgers.items())
    facts["rounds"] = f"{options.rounds}; times are medians, ratios medians of the rounds' own, memory the highest"
    with tempfile.TemporaryDirectory(prefix="costctl-bench-") as name:
        folder = Path(name)
        field = contestants(ledgers, folder / "home")
        rounds: dict[tuple[str, int], list[Once]] = {(one.name, one.years): [] for one in field}
        for turn in range(options.rounds + 1):
            print(f"round {turn} of {options.rounds}", file=sys.stderr, flush=True)
            for one in field[turn % len(field) :] + field[: turn % len(field)]:
                once = run_once(one, folder)
                if turn:  # the first round fills caches and compiles
                    rounds[one.name, one.years].append(once)
    print(markdown(facts, rounds))
    if options.json is not None:
        numbers = [
            {"name": name, "years": years, **asdict(once)} for (name, years), turns in rounds.items() for once in turns
        ]
        options.json.write_text(json.dumps({"facts": facts, "rounds": numbers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
