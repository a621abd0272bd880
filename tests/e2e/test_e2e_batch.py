"""`costctl batch` with real processes: nothing is lost and nothing computed twice, whoever is killed."""

import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys

import pytest
from running_costctl import PATIENCE_S, QUICK, let_pass, until

LINES = 300
PACED = ("--start-seconds", "0.2", "--first-token-seconds", "0", "--tokens-per-second", "20", "--max-concurrent", "16")
SIM = {"COSTCTL_ENGINE": "sim", "COSTCTL_GPU": "sim", "COSTCTL_PRICE": "1.8 CNY/h"}


class Batches:
    """Batches in a box."""

    def __init__(self, box):
        self.box = box
        box.environment |= SIM
        self.started = []

    def write(self, name="jobs.jsonl", *, lines=LINES, **body):
        """A file of requests, whose answers tell them apart by their prompts' lengths."""
        path = self.box.folder / name
        with path.open("w") as file:
            for number in range(lines):
                prompt = "x" * (4 * number + 1)
                request = {"custom_id": f"c{number}", "prompt": prompt, "max_tokens": 1 + number % 5, **body}
                file.write(json.dumps(request) + "\n")
        return path

    def start(self, *arguments, largest_file_bytes=None, ignores_hangup=False):
        """Start `costctl batch` without waiting for it; for a file that grows too large the disk is full."""
        limit = () if largest_file_bytes is None else ("prlimit", f"--fsize={largest_file_bytes}")
        limit = ("nohup", *limit) if ignores_hangup else limit
        process = subprocess.Popen(
            [*limit, sys.executable, "-m", "costctl", "batch", *arguments],
            env=self.box.environment,
            cwd=self.box.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments, code=0):
        """Run `costctl batch` to its end; return its summary."""
        done = self.box.run("batch", *arguments, "--json")
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    def answers(self, name="jobs.results.jsonl"):
        """What each line was answered, without what differs from run to run."""
        found = {}
        for text in (self.box.folder / name).read_text().splitlines():
            result = json.loads(text)
            assert result["custom_id"] not in found
            body = result["response"]["body"]
            found[result["custom_id"]] = (body["usage"], body["choices"][0]["message"]["content"])
        return found

    def under_way(self):
        with socket.socket(socket.AF_UNIX) as connection:  # asked often: quicker than a command
            connection.connect(str(self.box.home / "control.sock"))
            connection.sendall(b"GET /batches HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        return json.loads(answer.partition(b"\r\n\r\n")[2])["batches"]

    def done_lines(self):
        return sum(batch["requests"] for batch in self.under_way())

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def batches(box):
    made = Batches(box)
    yield made
    made.close()


def ended(process, code):
    """What a batch printed that has to end with this code."""
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, (process.returncode, out, err)
    return out, err


def test_without_a_daemon_one_is_started_and_nothing_of_it_is_left(box, batches):
    batches.write(lines=40)
    done = box.run("batch", "jobs.jsonl", "--in-order", "--", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "40 of 40 lines succeeded, 0 failed" in done.stdout
    assert "CNY per million tokens" in done.stdout
    assert list(batches.answers()) == [f"c{number}" for number in range(40)]
    assert not box.processes()
    (session,) = box.sessions()
    assert session["end_reason"] == "stopped"
    (stretch,) = json.loads(box.ok("batch", "show", "jobs.jsonl", "--json"))
    assert (stretch["requests"], stretch["failed_requests"], stretch["currency"]) == (40, 0, "CNY")
    assert stretch["generation_tokens"] == sum(1 + number % 5 for number in range(40))
    assert box.consistent()
    assert batches.run("jobs.jsonl")["run"] is None  # all is done: nothing is started for it


def test_killed_twice_and_resumed_it_gives_what_an_uninterrupted_run_gives(box, batches):
    box.serve("--idle-shutdown", "off", engine=PACED)
    batches.write()
    batches.run("jobs.jsonl", "-o", "whole.jsonl")
    chance = random.Random(4)
    for _ in range(2):
        process = batches.start("jobs.jsonl")
        until(lambda: batches.done_lines() >= 60, "some lines to be done")
        let_pass(chance, 0.3)
        process.kill()
        process.wait()
        until(lambda: not batches.under_way(), "the lease to end")
        assert not (box.folder / "jobs.results.jsonl").exists()
    summary = batches.run("jobs.jsonl")
    assert summary["run"]["requests"] <= LINES - 100
    assert batches.answers() == batches.answers("whole.jsonl")
    assert len(batches.answers()) == LINES
    assert box.consistent()


def test_a_full_disk_loses_nothing_and_the_same_command_goes_on_once_there_is_room(box, batches):
    box.serve("--idle-shutdown", "off", engine=PACED)
    batches.write()
    full = ended(batches.start("jobs.jsonl", largest_file_bytes=50_000), 1)[1]
    safe = re.search(r"the disk is full; (\d+) lines are safe, and the same command goes on from there", full)
    assert batches.run("jobs.jsonl")["run"]["requests"] == LINES - int(safe[1])
    assert len(batches.answers()) == LINES


def test_an_engine_that_is_killed_again_and_again_costs_no_line(box, batches):
    kills, lines = 3, 3 * LINES
    box.serve("--idle-shutdown", "off", engine=PACED)
    batches.write(lines=lines)
    process = batches.start("jobs.jsonl", "--json")
    for _ in range(kills):
        box.engine_is("ready")
        before = batches.done_lines()
        until(lambda before=before: batches.done_lines() >= before + 20, "some lines to be done")
        os.kill(box.status()["engine"]["pid"], signal.SIGKILL)
        box.engine_is("failed")
    out, _ = ended(process, 0)
    assert len(batches.answers()) == lines
    assert json.loads(out)["run"]["sent_again"] > 0
    # The last kill may come after the last line, and then nobody needs another engine.
    assert box.log().count("engine: starting") in (kills, kills + 1)


def test_a_daemon_that_is_restarted_is_found_again(box, batches):
    daemon = box.serve("--idle-shutdown", "off", engine=PACED)
    batches.write()
    process = batches.start("jobs.jsonl", "--json")
    until(lambda: batches.done_lines() >= 150, "half of the lines to be done")
    daemon.kill()
    box.serve("--idle-shutdown", "off", engine=PACED)
    ended(process, 0)
    assert len(batches.answers()) == LINES
    assert box.log("engine.log").count('/chat/completions HTTP/1.1" 200') <= LINES + 64, "only what was in flight again"
    assert box.consistent()


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(box, batches):
    box.serve("--idle-shutdown", "off", engine=PACED)
    batches.write()
    process = batches.start("jobs.jsonl", "--then", "unload")
    until(lambda: batches.done_lines() >= 50, "some lines to be done")
    process.send_signal(signal.SIGINT)
    out, err = ended(process, 130)
    assert "the same command goes on from here" in out
    assert "Traceback" not in err
    assert box.status()["engine"]["state"] == "ready"
    batches.run("jobs.jsonl")
    assert len(batches.answers()) == LINES


def test_nohup_is_believed(box, batches):
    batches.write(lines=60)
    process = batches.start("jobs.jsonl", "--", *PACED, ignores_hangup=True)
    until(lambda: (box.home / "control.sock").exists() and batches.done_lines(), "some lines to be done")
    process.send_signal(signal.SIGHUP)
    for daemon in box.processes():
        daemon.send_signal(signal.SIGHUP)
    ended(process, 0)
    assert len(batches.answers()) == 60


def test_batches_queue_one_can_be_cancelled_and_goes_on_later(box, batches):
    box.serve("--idle-shutdown", "off", engine=PACED)
    batches.write()
    batches.write("more.jsonl", lines=20)
    first = batches.start("jobs.jsonl")
    until(lambda: batches.done_lines() >= 10, "the first to run")
    second = batches.start("more.jsonl")
    until(lambda: len(batches.under_way()) == 2, "the second to be there")
    running, queued = batches.under_way()
    assert (running["state"], queued["state"], queued["place"], queued["requests"]) == ("running", "queued", 1, 0)
    assert "jobs.jsonl: " in box.ok("status")
    assert [batch["name"] for batch in box.json("batch", "list")["under_way"]] == ["jobs.jsonl", "more.jsonl"]
    assert box.status()["idle"]["why"].endswith("in flight")
    box.ok("batch", "cancel", str(running["id"]))
    assert "costctl batch cancel" in ended(first, 1)[0]
    ended(second, 0)
    assert len(batches.answers("more.results.jsonl")) == 20
    batches.run("jobs.jsonl")
    assert len(batches.answers()) == LINES
    assert "no batch 99" in box.refused("batch", "cancel", "99", code=2)


def test_a_line_that_is_refused_is_a_failed_line_and_the_exit_code_says_so(box, batches):
    box.serve("--idle-shutdown", "off", engine=(*QUICK, "--max-model-len", "500"))
    path = batches.write(lines=30)
    with path.open("a") as file:
        file.write(json.dumps({"custom_id": "long", "prompt": "x" * 4000, "max_tokens": 5}) + "\n")
    summary = batches.run("jobs.jsonl", code=4)
    assert (summary["failed"], summary["run"]["sent_again"]) == (1, 0)
    (error,) = (box.folder / "jobs.results.errors.jsonl").read_text().splitlines()
    assert json.loads(error)["response"]["status_code"] == 400
    assert batches.run("jobs.jsonl", "--max-failures", "4%")["exit_code"] == 0
    assert batches.run("jobs.jsonl", "--rerun-failed", code=4)["run"]["requests"] == 1


def test_an_engine_that_does_not_start_is_exit_code_3_and_why(box, batches):
    batches.write(lines=5)
    done = box.run("batch", "jobs.jsonl", "--", *QUICK, "--fail", "oom")
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert "memory" in done.stdout
    assert not box.processes()
    done = box.run("batch", "jobs.jsonl", "--", "--nonsense")
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert "its log: sim-engine: error: unrecognized arguments: --nonsense" in done.stdout


def test_a_daemon_that_cannot_start_for_the_batch_is_exit_code_3_and_why(box, batches):
    batches.write(lines=5)
    done = box.run("batch", "jobs.jsonl", COSTCTL_ENGINE="command", COSTCTL_ENGINE_COMMAND="")
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert "the daemon did not start: --engine command needs --engine-command" in done.stderr
    (box.home).mkdir(exist_ok=True)
    shutil.rmtree(box.home / "logs")
    (box.home / "logs").write_text("in the way")
    assert "cannot start a daemon" in box.refused("batch", "jobs.jsonl", code=3)


def test_a_home_that_another_daemon_is_about_to_leave_is_waited_for(box, batches):
    batches.write(lines=5)
    box.home.mkdir()
    with (box.home / "daemon.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = batches.start("jobs.jsonl", "--", *QUICK)
        until(lambda: "already runs" in box.log("detached.log"), "its own daemon to be turned away")
    ended(process, 0)


def test_a_daemon_that_was_started_for_one_batch_stays_for_another(box, batches):
    batches.write("first.jsonl", lines=2, max_tokens=100)
    batches.write(lines=100, max_tokens=20)
    first = batches.start("first.jsonl", "--", *PACED)
    until(lambda: (box.home / "control.sock").exists() and batches.under_way(), "the first to run")
    second = batches.start("jobs.jsonl", "--share")
    until(lambda: len(batches.under_way()) == 2, "the second to be there")
    ended(first, 0)
    ended(second, 0)
    assert len(batches.answers()) == 100


@pytest.mark.parametrize("fails", [False, True])
def test_then_shutdown_takes_the_last_rung_only_after_success(box, batches, fails):
    seen = box.folder / "seen"
    action = box.folder / "action"
    action.write_text(f"#!/bin/sh\nls {box.folder}/jobs.results.jsonl > {seen}\n")
    action.chmod(action.stat().st_mode | stat.S_IXUSR)
    limit = ("--max-model-len", "20") if fails else ()
    daemon = box.serve("--idle-shutdown", "30m", "--on-idle", f"command: {action}", engine=(*QUICK, *limit))
    batches.write(lines=30)
    batches.run("jobs.jsonl", "--then", "shutdown", code=4 if fails else 0)
    if not fails:
        assert daemon.ended() == 0
        box.serve("--idle-shutdown", "30m", "--on-idle", f"command: {action}")
        seen.unlink()
        batches.run("jobs.jsonl", "--then", "shutdown")  # nothing is left to do, but this
        daemon = box.daemons[-1]
    if fails:
        assert box.status()["engine"]["state"] == "ready"
        assert not seen.exists()
        batches.run("jobs.jsonl", "--rerun-failed", "--then", "shutdown", "--even-if-failed", code=4)
    assert daemon.ended() == 0
    assert seen.read_text().strip().endswith("jobs.results.jsonl")
    assert box.consistent()


def test_then_shutdown_is_refused_where_the_daemon_would_not_stop_the_machine(box, batches):
    box.serve("--idle-shutdown", "off")
    batches.write(lines=3)
    assert "--on-idle poweroff" in box.refused("batch", "jobs.jsonl", "--then", "shutdown", code=5)
    assert "engine: starting" not in box.log()


def test_a_bad_file_starts_nothing(box, batches):
    path = batches.write(lines=3)
    path.write_text(path.read_text() + "{nonsense\n")
    assert "line 4" in box.refused("batch", "jobs.jsonl", code=2)
    assert "nothing was started" in box.refused("batch", "jobs.jsonl", "--dry-run", code=2)
    assert "not a duration" in box.refused("batch", "jobs.jsonl", "--timeout", "soon", code=2)
    assert "like 5 or 1%" in box.refused("batch", "jobs.jsonl", "--max-failures", "some", code=2)
    assert "give -o FILE" in box.refused("batch", "-", code=2)
    assert not (box.home / "ledger.db").exists()
    assert [each.name for each in box.folder.glob("jobs*")] == ["jobs.jsonl"]


def test_a_file_called_like_a_command_is_named_with_its_folder(box, batches):
    batches.write("list", lines=2)
    assert "2 lines" in box.ok("batch", "./list", "--dry-run")
    assert json.loads(box.ok("batch", "list", "--json")) == {"under_way": [], "earlier": []}


def test_the_control_socket_serves_its_owner_without_a_key(box):
    box.serve("--idle-shutdown", "off", COSTCTL_API_KEYS="secret")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(box.home / "control.sock"))
        connection.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert b" 200 " in connection.recv(4096)
    assert box.get("/v1/models")[0] == 401
