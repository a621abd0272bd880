"""Two processes, one ledger: a due time is run exactly once, whoever of them dies and when."""

import contextlib
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from costctl.domain.schedules import Schedule, parse_rule

PATIENCE_S = 30
DUE = datetime(2026, 1, 31, 2, tzinfo=UTC)

# Runs what is due, as a daemon does, until its standard input ends.
DAEMON = """
import asyncio, pathlib, sys
from costctl.adapters.clock import SystemClock
from costctl.adapters.commands import CostctlCommands
from costctl.adapters.scheduling import ApschedulerAlarms
from costctl.daemon.schedule_runner import ScheduleRunner
from costctl.daemon.schedules import Schedules
from costctl.ledger.store import Ledger

async def main(url, folder):
    ledger, commands, clock = Ledger.open(url), CostctlCommands(pathlib.Path(folder), {}), SystemClock()
    runner = ScheduleRunner(
        ledger=ledger, commands=commands, clock=clock, submit=lambda verb: verb(ledger), tell=lambda *_: None,
        session_id=lambda: None,
    )
    schedules = Schedules(
        ledger=ledger, machine="box", runner=runner, clock=clock, earlier_starts_s=lambda: (), has_lease=bool,
        make_alarms=lambda fire: ApschedulerAlarms(ledger.jobs_of("box"), "box", fire),
    )
    await schedules.refresh()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await schedules.stop()

asyncio.run(main(*sys.argv[1:]))
"""

# Takes a due time and says what came of it; with "halfway" it stays in the middle of taking it.
CLAIM = """
import contextlib, sys
from datetime import datetime
from costctl.ledger.store import Ledger
url, due, halfway = sys.argv[1:]
ledger, due = Ledger.open(url), datetime.fromisoformat(due)
with ledger.transaction() if halfway == "halfway" else contextlib.nullcontext():
    print("about to", flush=True) if halfway != "halfway" else None
    taken = ledger.begin_schedule_run(1, due_at=due, at=due, command=(), session_id=None, log="")
    print(taken, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start():
    """Start a program of Python; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(program, *arguments):
            process = subprocess.Popen(
                [sys.executable, "-c", program, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield start


def add(ledger, due_at):
    made = Schedule(
        name="nightly",
        rule=parse_rule(f"at {due_at:%Y-%m-%dT%H:%M:%S}"),
        zone=ZoneInfo("UTC"),
        command=("config", "show"),
        folder="/",
        since=due_at - timedelta(hours=1),
    )
    ledger.add_schedule("box", made)


def test_of_two_daemons_that_share_a_machines_name_and_a_ledger_one_runs_what_is_due(start, ledger, url, tmp_path):
    add(ledger, datetime.now(UTC) + timedelta(seconds=3))
    folders = [tmp_path / name for name in ("one", "other")]
    daemons = [start(DAEMON, url, folder) for folder in folders]
    assert [daemon.stdout.readline() for daemon in daemons] == ["ready\n", "ready\n"]
    deadline = datetime.now(UTC) + timedelta(seconds=PATIENCE_S)
    while not (runs := ledger.schedule_runs("box")) or runs[0].outcome == "running":
        assert datetime.now(UTC) < deadline, runs
    for daemon in daemons:
        daemon.communicate()
    assert [(run.outcome, run.exit_code) for run in ledger.schedule_runs("box")] == [("succeeded", 0)]
    assert len([log for folder in folders for log in folder.glob("*.log")]) == 1


def test_of_many_that_take_a_due_time_at_once_one_has_it(start, ledger, url):
    add(ledger, DUE)
    takers = [start(CLAIM, url, DUE, "at once") for _ in range(4)]
    assert {taker.stdout.readline() for taker in takers} == {"about to\n"}
    assert sorted(taker.stdout.readline() for taker in takers) == ["1\n", "None\n", "None\n", "None\n"]


def test_who_is_killed_in_the_middle_of_taking_it_leaves_it_to_the_other(start, ledger, url):
    add(ledger, DUE)
    first = start(CLAIM, url, DUE, "halfway")
    assert first.stdout.readline() == "1\n"
    assert ledger.schedule_runs("box") == [], "nobody sees it yet"
    second = start(CLAIM, url, DUE, "at once")
    assert second.stdout.readline() == "about to\n"
    first.send_signal(signal.SIGKILL)
    assert second.stdout.readline() == "1\n"
    assert [run.outcome for run in ledger.schedule_runs("box")] == ["running"]
    assert ledger.check() == []
