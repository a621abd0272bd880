"""Schedules of a real daemon: one fires at its time, one keeps it up, and a failure is told."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.webhook import Webhook
from running_costctl import PATIENCE_S, until


def soon(seconds):
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


def add(box, name, seconds, *command):
    box.ok("schedule", "add", name, "--at", soon(seconds), "--tz", "UTC", "--", *command)


def test_a_schedule_keeps_the_daemon_up_and_runs_at_its_time_and_its_cost_is_known(box):
    daemon = box.serve("--idle-shutdown", "3s", "--price", "1.8 CNY/h")
    add(box, "soon", 6, "sessions", "--json")
    (listed,) = box.json("schedule", "list")
    due = datetime.fromisoformat(listed["next_run_at"])
    assert daemon.ended() == 0, "it ends by itself, when nothing is due any more"
    (run,) = box.json("schedule", "history")
    started = datetime.fromisoformat(run["started_at"])
    assert timedelta() <= started - due < timedelta(seconds=2)
    assert (run["outcome"], run["exit_code"], run["session"]) == ("succeeded", 0, 1)
    assert json.loads(Path(run["log"]).read_text())[0]["open"] is True
    assert 0 < float(run["cost"]) < 0.01, "a second or so at 1.8 CNY/h"
    assert box.consistent()


def test_what_was_due_while_no_daemon_ran_runs_when_one_is_back_and_only_once(box):
    add(box, "missed", 3, "config", "show")
    until(lambda: box.json("schedule", "list")[0]["next_run_at"] is None, "it to be due")
    daemon = box.serve("--idle-shutdown", "60s")
    daemon.has_said("schedule missed: succeeded")
    daemon.stop()
    again = box.serve("--idle-shutdown", "60s")
    again.stop()
    assert "missed: runs" not in again.said
    assert [run["outcome"] for run in box.json("schedule", "history")] == ["succeeded"]


def test_a_scheduled_batch_is_known_by_its_run_and_its_cost_is_the_batchs(box):
    daemon = box.serve("--idle-shutdown", "60s", "--price", "1.8 CNY/h")
    (box.folder / "jobs.jsonl").write_text('{"prompt": "x", "max_tokens": 1}\n')
    box.ok("batch", "jobs.jsonl", "-o", "by-hand.jsonl")
    box.ok("schedule", "add", "nightly", "--every", "1d", "--", "batch", "jobs.jsonl", "-o", "out-{date}-{time}.jsonl")
    box.ok("schedule", "run", "nightly")
    daemon.stop()
    (run,) = box.json("schedule", "history")
    with box.ledger() as ledger:
        by_hand, own = ledger.batches(1)
    assert (by_hand.schedule_run_id, own.schedule_run_id, run["batches"]) == (None, 1, [own.id])
    assert 0 < float(run["cost"]) <= 1.8 / 3600 * run["seconds"]


@pytest.mark.parametrize("on_idle", ["exit", "unload"])
def test_a_shutdown_that_the_daemon_would_refuse_each_night_is_refused_at_once(box, on_idle):
    box.serve("--idle-shutdown", "60s", "--on-idle", on_idle)
    nightly = ("schedule", "add", "nightly", "--every", "1d")
    said = box.refused(*nightly, "--then", "shutdown", "--", "batch", "jobs.jsonl", code=5)
    assert f"the one that runs has --on-idle {on_idle}, so each run would be refused" in said
    box.refused(*nightly, "--", "batch", "jobs.jsonl", "--then", "shutdown", code=5)
    assert box.json("schedule", "list") == []


def test_a_daemon_that_stops_the_machine_takes_a_shutdown(box):
    box.serve("--idle-shutdown", "60s", "--on-idle", "command: true")
    box.ok("schedule", "add", "nightly", "--every", "1d", "--then", "shutdown", "--", "batch", "jobs.jsonl")
    assert box.json("schedule", "list")[0]["command"][-2:] == ["--then", "shutdown"]


def test_a_scheduled_batch_shuts_the_machine_down_when_it_is_done(box):
    """Its own run must not be what keeps the machine up then, nor may the next due time be near."""
    daemon = box.serve("--idle-shutdown", "10m", "--on-idle", f"command: touch {box.folder}/off")
    (box.folder / "jobs.jsonl").write_text('{"prompt": "x", "max_tokens": 1}\n')
    add(box, "nightly", 3, "batch", "jobs.jsonl", "--then", "shutdown")
    assert daemon.ended() == 0, daemon.said
    assert (box.folder / "off").exists()
    (run,) = box.json("schedule", "history")
    assert (run["outcome"], run["exit_code"], len(run["batches"])) == ("succeeded", 0, 1)


def test_a_failure_is_told_to_a_command_of_ones_own(box):
    told = box.folder / "told"
    script = f"{{ echo $COSTCTL_TITLE; cat; }} > {told}.new && mv {told}.new {told}"
    box.folder.joinpath("costctl.toml").write_text(f'[[notify]]\nname = "pager"\ncommand = "{script}"\n')
    box.serve("--idle-shutdown", "60s")
    add(box, "bad", 3, "batch", "no-such-file.jsonl")
    until(told.exists, "the command to be run")
    title, *body = told.read_text().splitlines()
    assert title == "costctl: schedule bad: failed with exit code 2"
    assert "no-such-file.jsonl" in body[-1]
    (run,) = box.json("schedule", "history")
    assert (run["outcome"], run["exit_code"], body[-1] in Path(run["log"]).read_text()) == ("failed", 2, True)


@pytest.mark.parametrize(
    ("number", "code", "outcome"), [(signal.SIGTERM, 130, "failed"), (signal.SIGKILL, -9, "running")]
)
def test_a_run_by_hand_that_is_ended_is_recorded_or_lost(box, number, code, outcome):
    os.mkfifo(box.folder / "fifo")
    box.ok("schedule", "add", "long", "--every", "1d", "--", "prices", "import", "fifo")  # waits for a writer
    command = [sys.executable, "-m", "costctl", "schedule", "run", "long"]
    process = subprocess.Popen(command, env=box.environment, cwd=box.folder, stderr=subprocess.DEVNULL)
    until(lambda: [one["outcome"] for one in box.json("schedule", "history")] == ["running"], "it to run")
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == code
    assert [one["outcome"] for one in box.json("schedule", "history")] == [outcome]
    if number == signal.SIGKILL:
        assert "the run before it was still going on" in box.refused("schedule", "run", "long", code=5)
        with (box.folder / "fifo").open("w"):
            pass  # lets it end


async def test_a_failure_is_told_to_the_targets_of_the_configuration(box):
    async with Webhook() as hook:
        box.folder.joinpath("costctl.toml").write_text(
            f'[[notify]]\nname = "team"\nurl = "json://127.0.0.1:{hook.port}"\n'
        )
        await asyncio.to_thread(box.serve, "--idle-shutdown", "60s")
        await asyncio.to_thread(add, box, "bad", 3, "report", "--month", "{date}x")
        await asyncio.to_thread(until, lambda: hook.posts, "the message")
    assert hook.posts[0]["title"] == "costctl: schedule bad: failed with exit code 2"
    assert "is not a month" in hook.posts[0]["message"]
