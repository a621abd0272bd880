"""Schedules of a real daemon: one fires at its time, one keeps it up, and a failure is told."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fakes.webhook import Webhook
from running_costctl import until


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
