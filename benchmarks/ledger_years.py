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
from collections import Counter, defaultdict
from contextlib import closing
from datetime import date, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

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

REASONS = ("idle", "stopped", "lost", "suspended")
REASON_WEIGHTS = (92, 6, 1.5, 0.5)
CUT_OFF = {"lost", "suspended"}

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


class Drawn(NamedTuple):
    """A session as it was drawn."""

    id: int
    machine: int
    phases: list[tuple[str, int]]
    starts: list[int]
    end: int
    reason: str

    @property
    def launched(self) -> int:
        return self.starts[1]

    @property
    def ready(self) -> int:
        return self.starts[2]

    @property
    def was_cut_off(self) -> bool:
        return self.reason in CUT_OFF


class Filler:
    """Draws sessions and keeps their rows, by table, until they are taken."""

    def __init__(self) -> None:
        self.rows: defaultdict[str, list[Row]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self._drawn = 0
        self._machines = list(csv.DictReader(FLEET.splitlines()))
        self._commands = [_command(machine) for machine in self._machines]
        facts = ("machine", "provider", "instance_type", "region", "market", "gpu")
        for number, machine in enumerate(self._machines, start=1):
            self.rows["instances"].append((number, *(machine[name] or None for name in facts), 1))

    def day(self, day: date, count: int) -> None:
        """Draw the `count` sessions of `day` from a seed of its own, in the order of their starts."""
        random = Random(day.isoformat())
        midnight = (day - date(1970, 1, 1)).days * DAY + MIDNIGHT
        for started_at, slot_us, machine in sorted(self._slots(random, midnight, count)):
            drawn = self._draw(random, started_at, slot_us, machine)
            for table in (self._session, self._phases, self._run, self._usage, self._gpu, self._batch, self._decision):
                table(random, drawn)

    def take(self) -> Iterator[tuple[str, list[Row]]]:
        """Yield what has gathered, by table, and forget it."""
        for table, rows in self.rows.items():
            self.counts[table] += len(rows)
            yield table, rows
        self.rows.clear()

    def _slots(self, random: Random, midnight: int, count: int) -> Iterator[tuple[int, int, int]]:
        """Give each machine its share of the day's sessions, and each session a stretch of the machine's day."""
        for machine in range(len(self._machines)):
            here = len(range(machine, count, len(self._machines)))
            for number in range(here):
                slot_us = DAY // here
                delay_us = int(random.random() * 0.2 * slot_us)
                yield midnight + number * slot_us + delay_us, slot_us - delay_us, machine

    def _draw(self, random: Random, started_at: int, slot_us: int, machine: int) -> Drawn:
        self._drawn += 1
        reason = random.choices(REASONS, REASON_WEIGHTS)[0]
        phases = _phases(random, slot_us, cut_off=reason in CUT_OFF)
        *starts, end = accumulate((length_us for _, length_us in phases), initial=started_at)
        return Drawn(self._drawn, machine, phases, starts, end, reason)

    def _session(self, random: Random, drawn: Drawn) -> None:
        machine = self._machines[drawn.machine]
        began = drawn.starts[0]
        known = int(machine["micros_per_hour"]), machine["currency"], "flag", began - began % (30 * DAY)
        price = known if random.random() < 0.99 else (None,) * len(known)
        about = (drawn.id, drawn.machine + 1, f"boot {drawn.id:08x}", began, drawn.end, drawn.end, drawn.reason)
        self.rows["sessions"].append((*about, *price, machine["rule"]))

    def _phases(self, _random: Random, drawn: Drawn) -> None:
        self.rows["phases"].extend(
            (drawn.id, at, phase, None if phase == "off" else 1)
            for at, (phase, _) in zip(drawn.starts, drawn.phases, strict=True)
        )

    def _run(self, random: Random, drawn: Drawn) -> None:
        seconds = (drawn.ready - drawn.launched) / SECOND
        imports, weights = 0.2 + random.random() * 0.1, 0.3 + random.random() * 0.1
        shares = {"imports": imports, "weights": weights, "compile": 0.2, "graphs": 0.8 - imports - weights}
        startup = json.dumps({phase: round(share * seconds, 3) for phase, share in shares.items()})
        over = (drawn.end, "lost") if drawn.was_cut_off else (drawn.starts[-1], "stopped")
        about = ("vllm", self._machines[drawn.machine]["model"], self._commands[drawn.machine])
        self.rows["engine_runs"].append((drawn.id, 1, *about, drawn.launched, drawn.ready, *over, None, startup))

    def _usage(self, random: Random, drawn: Drawn) -> None:
        model = self._machines[drawn.machine]["model"]
        for hour in range(drawn.ready - drawn.ready % HOUR, drawn.end, HOUR):
            minutes = (min(drawn.end, hour + HOUR) - max(drawn.ready, hour)) / MINUTE
            self.rows["usage_hours"].append((drawn.id, hour, model, *_work(random, minutes)))

    def _gpu(self, random: Random, drawn: Drawn) -> None:
        machine = self._machines[drawn.machine]
        memory_bytes = int(machine["vram_gib"]) * 966_000_000
        first = drawn.ready - drawn.ready % MINUTE
        for minute in range(first, min(drawn.end, first + GPU_MINUTES * MINUTE), MINUTE):
            percent = int(random.random() * 100)
            reading = (machine["gpu"], percent, memory_bytes, 25_000 + percent * 450)
            self.rows["gpu_minutes"].append((drawn.id, minute, 0, *reading))

    def _batch(self, random: Random, drawn: Drawn) -> None:
        if random.random() < 0.03:
            requests, *tokens = _work(random, (drawn.end - drawn.ready) / MINUTE)
            ended_at = None if drawn.was_cut_off else drawn.starts[-2]
            batch = (None, drawn.id, f"nightly-{drawn.id % 7}", drawn.ready, ended_at, requests, 0, *tokens)
            self.rows["batches"].append(batch)

    def _decision(self, random: Random, drawn: Drawn) -> None:
        if random.random() < 0.1 and drawn.reason == "idle":
            signals = json.dumps({"front door": {"active": False, "detail": "idle for 300 s"}})
            reason = "idle for 5m, which is the idle window"
            self.rows["decisions"].append((None, drawn.id, drawn.starts[-2], "stop", reason, signals, 1))


def _command(machine: dict[str, str]) -> str:
    words = f"vllm serve {machine['model']} --uds /run/costctl/engine.sock --max-model-len {machine['max_model_len']}"
    half = " --dtype half" if "T4" in machine["gpu"] else ""
    return json.dumps([*(words + half).split(), "--gpu-memory-utilization", "0.9"])


def _work(random: Random, minutes: float) -> tuple[int, int, int]:
    """Draw requests, prompt and generated tokens for so many minutes."""
    requests = int(minutes * random.uniform(0.5, 6)) + 1
    return requests, requests * random.randint(200, 1500), requests * random.randint(80, 400)


def _phases(random: Random, slot_us: int, *, cut_off: bool) -> list[tuple[str, int]]:
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


def fill(path: Path, *, first: date, until: date, per_year: int) -> Counter[str]:
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
    return filler.counts


def _write(connection: sqlite3.Connection, filler: Filler) -> None:
    connection.execute("BEGIN")
    for table, rows in filler.take():
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
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


def make(out: Path, *, years: int, until: date, per_year: int = 100_000) -> None:
    """Make the ledger `out` of so many years before `until`; it is there when it is whole."""
    from costctl.ledger.store import Ledger  # noqa: PLC0415 - report.py measures processes and stays small itself

    began = time.monotonic()
    part = out.with_name(out.name + ".part")
    part.unlink(missing_ok=True)
    Ledger.open(f"sqlite:///{part}").close()
    counts = fill(part, first=until.replace(year=until.year - years), until=until, per_year=per_year)
    part.rename(out)
    rows = ", ".join(f"{count:,} {table}" for table, count in counts.items())
    say(f"{out}: {rows}; {out.stat().st_size / 1e6:,.0f} MB in {time.monotonic() - began:.0f} s")


def main() -> None:
    options = _options()
    if options.out.exists():
        sys.exit(f"{options.out} exists: name another file")
    make(options.out, years=options.years, until=options.until, per_year=options.sessions_per_year)


if __name__ == "__main__":
    main()
