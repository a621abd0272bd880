"""Make a ledger of years of believable use: the same one each time, and the same months however many years come before.

The tables are made by costctl's own migrations; the rows go in by the million, past its verbs and their safety.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sqlite3
import sys
import time
from collections import defaultdict
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from costctl.ledger.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    Row = tuple[Any, ...]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MIDNIGHT = -8 * HOUR  # days are those of Shanghai, so that sessions go over midnight in UTC
DAYS_PER_YEAR = 365
BY_WEEKDAY = (1.15, 1.15, 1.15, 1.15, 1.15, 0.7, 0.55)
IDLE_WINDOW_S = 300.0
GPU_MINUTES = 5  # at the beginning of each run: all of them would be another ledger's size

FLEET = """\
machine,provider,instance_type,region,market,gpu,micros_per_hour,currency,rule,model,max_model_len,vram_gib
t4-1,reference-cn,t4,cn,on-demand,Tesla T4,1800000,CNY,exact,Qwen/Qwen3-1.7B,8192,16
t4-2,reference-cn,t4,cn,on-demand,Tesla T4,1800000,CNY,exact,Qwen/Qwen3-1.7B,8192,16
t4-3,reference-cn,t4,cn,on-demand,Tesla T4,1800000,CNY,exact,Qwen/Qwen3-0.6B,16384,16
t4-4,reference-cn,t4,cn,on-demand,Tesla T4,1800000,CNY,exact,Qwen/Qwen3-1.7B,8192,16
l4-1,reference-cn,l4,cn,on-demand,NVIDIA L4,2500000,CNY,exact,Qwen/Qwen3-4B,16384,24
a10g-1,reference-cn,a10g,cn,on-demand,NVIDIA A10G,3000000,CNY,exact,Qwen/Qwen3-8B,16384,24
a10g-2,reference-cn,a10g,cn,on-demand,NVIDIA A10G,3000000,CNY,exact,Qwen/Qwen3-8B,16384,24
rented-1,autodl,,bj,on-demand,NVIDIA GeForce RTX 4090,1980000,CNY,autodl,Qwen/Qwen3-8B,16384,24
g5-1,aws,g5.xlarge,us-east-1,on-demand,NVIDIA A10G,1006000,USD,aws-ec2-linux,Qwen/Qwen3-8B,16384,24
g5-2,aws,g5.xlarge,us-east-1,spot,NVIDIA A10G,480000,USD,aws-spot,Qwen/Qwen3-8B,16384,24
g2-1,gcp,g2-standard-4,us-central1,on-demand,NVIDIA L4,706832,USD,gcp-gce,Qwen/Qwen3-4B,16384,24
pod-1,runpod,,eu,on-demand,NVIDIA L4,430000,USD,runpod-pod,Qwen/Qwen3-4B,16384,24
"""


class Filler:
    """Draws sessions and keeps their rows, by table, until they are taken."""

    def __init__(self) -> None:
        self.rows: defaultdict[str, list[Row]] = defaultdict(list)
        self.counts: defaultdict[str, int] = defaultdict(int)
        self._machines = list(csv.DictReader(FLEET.splitlines()))
        self._commands = [_command(machine) for machine in self._machines]
        names = ("id", "machine", "provider", "instance_type", "region", "market", "gpu", "gpu_count")
        for number, machine in enumerate(self._machines, start=1):
            facts = {**machine, "id": number, "gpu_count": 1}
            self.rows["instances"].append(tuple(facts[name] or None for name in names))

    def day(self, day: date, count: int) -> None:
        """Draw the `count` sessions of `day`, from a seed of its own, in the order of their starts."""
        random = Random(day.isoformat())
        midnight = (day - date(1970, 1, 1)).days * DAY + MIDNIGHT
        drawn = sorted(self._starts(random, midnight, count))
        for started_at, slot_us, machine in drawn:
            self._session(random, started_at, slot_us, machine)

    def take(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield what has gathered, by table, and forget it."""
        for table, rows in self.rows.items():
            self.counts[table] += len(rows)
            yield table, rows
        self.rows.clear()

    def _starts(self, random: Random, midnight: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Give each machine its share of the day's sessions, and each session its own slot of the machine's day."""
        for machine in range(len(self._machines)):
            here = len(range(machine, count, len(self._machines)))
            for number in range(here):
                slot_us = DAY // here
                delay_us = int(random.random() * 0.2 * slot_us)
                yield midnight + number * slot_us + delay_us, slot_us - delay_us, machine

    def _session(self, random: Random, started_at: int, slot_us: int, number: int) -> None:
        machine = self._machines[number]
        self.counts["drawn"] += 1
        session_id = self.counts["drawn"]
        reason = random.choices(("idle", "stopped", "lost", "suspended"), (92, 6, 1.5, 0.5))[0]
        stretches = _stretches(random, slot_us, cut_off=reason in {"lost", "suspended"})
        at, edges = started_at, []
        for phase, length_us in stretches:
            edges.append(at)
            self.rows["phases"].append((session_id, at, phase, None if phase == "off" else 1))
            at += length_us
        self._session_row(random, session_id, number + 1, machine, started_at, at, reason)
        self._run(random, session_id, number, edges, at, reason)
        self._usage(random, session_id, machine["model"], edges[2], at)
        self._gpu(random, session_id, machine, edges[2], at)

    def _session_row(
        self, random: Random, session_id: int, instance: int, machine: dict[str, str], start: int, end: int, reason: str
    ) -> None:
        price = (int(machine["micros_per_hour"]), machine["currency"], "flag", start - start % (30 * DAY))
        if random.random() < 0.01:
            price = (None, None, None, None)
        key = f"boot {session_id:08x}"
        self.rows["sessions"].append((session_id, instance, key, start, end, end, reason, *price, machine["rule"]))

    def _run(self, random: Random, session_id: int, number: int, edges: list[int], end: int, reason: str) -> None:
        outcome = "lost" if reason in {"lost", "suspended"} else "stopped"
        launched, ready = edges[1], edges[2]
        seconds = (ready - launched) / SECOND
        imports, weights = 0.2 + random.random() * 0.1, 0.3 + random.random() * 0.1
        spent = {"imports": imports, "weights": weights, "compile": 0.2, "graphs": 0.8 - imports - weights}
        startup = json.dumps({phase: round(share * seconds, 3) for phase, share in spent.items()})
        ended = end if outcome == "lost" else edges[-1]
        model = self._machines[number]["model"]
        command = self._commands[number]
        row = (session_id, 1, "vllm", model, command, launched, ready, ended, outcome, None, startup)
        self.rows["engine_runs"].append(row)
        if random.random() < 0.1:
            signals = json.dumps({"front door": {"active": False, "detail": "idle for 300 s"}})
            self.rows["decisions"].append((session_id, ended, "stop", "idle for 5 minutes", signals, reason == "idle"))

    def _usage(self, random: Random, session_id: int, model: str, ready: int, end: int) -> None:
        for hour in range(ready - ready % HOUR, end, HOUR):
            minutes = (min(end, hour + HOUR) - max(ready, hour)) / MINUTE
            requests = int(minutes * random.uniform(0.5, 6)) + 1
            tokens = (requests * random.randint(200, 1500), requests * random.randint(80, 400))
            self.rows["usage_hours"].append((session_id, hour, model, requests, *tokens))

    def _gpu(self, random: Random, session_id: int, machine: dict[str, str], ready: int, end: int) -> None:
        memory = int(machine["vram_gib"]) * 966_000_000
        first = ready - ready % MINUTE
        for minute in range(first, min(end, first + GPU_MINUTES * MINUTE), MINUTE):
            percent = int(random.random() * 100)
            self.rows["gpu_minutes"].append(
                (session_id, minute, 0, machine["gpu"], percent, memory, 25_000 + percent * 450)
            )


def _command(machine: dict[str, str]) -> str:
    words = f"vllm serve {machine['model']} --uds /run/costctl/engine.sock --max-model-len {machine['max_model_len']}"
    half = " --dtype half" if "T4" in machine["gpu"] else ""
    return json.dumps([*(words + half).split(), "--gpu-memory-utilization", "0.9"])


def _stretches(random: Random, slot_us: int, *, cut_off: bool) -> list[tuple[str, int]]:
    """Draw the phases of a session, ten of them on average, that fit into its slot."""
    drawn = [("off", random.uniform(15, 40)), ("starting", random.uniform(50, 140))]
    for _ in range(random.randint(1, 5) + cut_off):
        gap = "unknown" if random.random() < 0.005 else "idle"
        idle_s = min(random.expovariate(1 / 150), IDLE_WINDOW_S)
        drawn += [("busy", random.expovariate(1 / 240) + 1), (gap, idle_s + 1)]
    drawn[-1] = ("idle", IDLE_WINDOW_S)
    if not cut_off:
        drawn += [("stopping", random.uniform(3, 12)), ("off", random.uniform(2, 6))]
    scale = min(1.0, 0.98 * slot_us / SECOND / sum(seconds for _, seconds in drawn))
    return [(phase, max(1, int(seconds * scale * SECOND))) for phase, seconds in drawn]


def sessions_on(day: date, per_year: int) -> int:
    """Return how many sessions begin on `day`: a matter of the calendar alone, and right on average."""
    per_day = per_year / DAYS_PER_YEAR
    weeks, weekday = divmod(day.toordinal() - 1, 7)
    before = 7 * weeks + sum(BY_WEEKDAY[:weekday])
    return math.floor((before + BY_WEEKDAY[weekday]) * per_day) - math.floor(before * per_day)


def fill(path: Path, *, first: date, until: date, per_year: int) -> dict[str, int]:
    """Fill the empty ledger at `path` with the days of [first, until); return how many rows each table got."""
    filler = Filler()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -200000", "locking_mode = EXCLUSIVE"):
            connection.execute(f"PRAGMA {pragma}")
        day = first
        while day < until:
            filler.day(day, sessions_on(day, per_year))
            day += timedelta(days=1)
            if day.day == 1 or day == until:
                _write(connection, filler)
                if day.month == 1 or day == until:
                    say(f"until {day}: {filler.counts['sessions']:,} sessions, {filler.counts['phases']:,} phases")
        connection.execute("PRAGMA journal_mode = WAL")
    return {table: count for table, count in filler.counts.items() if table != "drawn"}


COLUMNS = {"decisions": "(session_id, at, verdict, reason, signals, acted)"}


def _write(connection: sqlite3.Connection, filler: Filler) -> None:
    connection.execute("BEGIN")
    for table, rows in filler.take():
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} {COLUMNS.get(table, '')} VALUES ({marks})", rows)
    connection.execute("COMMIT")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the ledger goes; must not exist")
    parser.add_argument("--years", type=int, default=10, help="how many (default: %(default)s)")
    parser.add_argument("--sessions-per-year", type=int, default=100_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--until", type=date.fromisoformat, default=date(2026, 11, 1), help="(default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    options = _options()
    if options.out.exists():
        sys.exit(f"{options.out} exists: name another file")
    began = time.monotonic()
    part = options.out.with_name(options.out.name + ".part")
    part.unlink(missing_ok=True)
    Ledger.open(f"sqlite:///{part}").close()
    first = options.until.replace(year=options.until.year - options.years)
    counts = fill(part, first=first, until=options.until, per_year=options.sessions_per_year)
    part.rename(options.out)
    rows = ", ".join(f"{count:,} {table}" for table, count in counts.items())
    say(f"{options.out}: {rows}; {options.out.stat().st_size / 1e6:,.0f} MB in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
