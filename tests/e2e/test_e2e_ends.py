"""Ends: by idleness, by order, by signals, by murder; the session is right and nothing is left each time."""

import contextlib
import json
import os
import random
import signal
import socket
import stat
import threading

import openai
import psutil
import pytest
from running_costctl import QUESTION, let_pass, until

ROUNDS = int(os.environ.get("COSTCTL_TEST_ROUNDS", "5"))
SLOW = ("--start-seconds", "0.2", "--tokens-per-second", "20", "--first-token-seconds", "0")


def script(box, text):
    """An executable that sees how things stand when it is run."""
    path = box.folder / "action"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_idle_command_runs_once_after_the_session_was_closed(box):
    seen = box.folder / "seen"
    action = script(
        box,
        f"cp {box.home}/ledger.db* {box.folder}/ && echo ran >> {seen}",
    )
    daemon = box.serve("--idle-shutdown", "1s", "--on-idle", f"command: {action} 'with space'")
    assert f"run `{action} 'with space'` and exit" in daemon.said
    box.chat()
    assert daemon.ended() == 0
    assert seen.read_text() == "ran\n"
    at_the_time = box.folder / "ledger.db"
    (session,) = json.loads(box.ok("sessions", "--json", COSTCTL_LEDGER=f"sqlite:///{at_the_time}"))
    assert session["end_reason"] == "idle"
    assert not box.processes()
    assert box.consistent()


def test_an_idle_command_that_fails_leaves_a_daemon_that_serves_and_a_session_that_goes_on(box):
    daemon = box.serve("--idle-shutdown", "1s", "--on-idle", "command: false")
    daemon.has_said("still billed")
    assert box.chat()
    (session,) = box.sessions()
    assert session["ended_at"] is None
    assert box.get("/health")[0] == 200
    daemon.stop()
    (session,) = box.sessions()
    assert session["end_reason"] == "stopped"
    assert box.consistent()


def test_unload_frees_the_gpu_and_stays(box):
    daemon = box.serve("--idle-shutdown", "1s", "--on-idle", "unload")
    box.chat()
    box.engine_is("off")
    assert box.chat()
    until(lambda: box.log().count("engine: ready") == 2, "the second start to be logged")
    assert daemon.process.poll() is None
    (session,) = box.sessions()
    assert session["ended_at"] is None


def test_sigterm_lets_requests_finish_refuses_new_ones_and_closes_the_session(box):
    daemon = box.serve("--idle-shutdown", "off", engine=SLOW)
    with box.client() as client:
        stream = iter(client.chat.completions.create(**QUESTION, stream=True, max_tokens=20))
        next(stream)
        daemon.signal()
        daemon.has_said("requests may finish")
        with pytest.raises(openai.InternalServerError, match="shutting down"):
            client.chat.completions.create(**QUESTION)
        assert box.get("/health")[0] == 503
        assert len(list(stream)) >= 19
    assert daemon.ended() == 0
    (session,) = box.sessions()
    assert session["end_reason"] == "stopped"
    assert not box.processes()
    assert box.consistent()


def test_a_second_sigterm_hurries_and_the_client_is_told(box):
    daemon = box.serve("--idle-shutdown", "off", engine=SLOW)
    with box.client() as client:
        stream = iter(client.chat.completions.create(**QUESTION, stream=True, max_tokens=4000))
        next(stream)
        daemon.signal()
        daemon.has_said("requests may finish")
        daemon.signal()
        with pytest.raises(openai.APIError):
            list(stream)
    assert daemon.ended() == 0
    (session,) = box.sessions()
    assert session["end_reason"] == "stopped"
    assert not box.processes()
    assert box.consistent()


def test_a_burst_of_signals_ends_it_as_cleanly_as_one(box):
    daemon = box.serve("--idle-shutdown", "off")
    box.chat()

    def storm():
        while daemon.process.poll() is None:
            daemon.signal()

    storming = threading.Thread(target=storm)
    storming.start()
    code = daemon.ended()
    storming.join()
    assert code == 0, daemon.said
    (session,) = box.sessions()
    assert session["end_reason"] == "stopped"
    assert not box.processes()
    assert box.consistent()


def test_sigterm_while_the_idle_command_runs_ends_the_daemon_and_not_the_command(box):
    seen = box.folder / "seen"
    gate = box.folder / "gate"
    os.mkfifo(gate)
    action = script(box, f"echo began >> {seen}; read line < {gate}; echo $line >> {seen}")
    daemon = box.serve("--idle-shutdown", "1s", "--on-idle", f"command: {action}")
    until(seen.exists, "the command to begin")
    daemon.signal()
    assert daemon.ended() == 0
    gate.write_text("ended\n")
    until(lambda: seen.read_text() == "began\nended\n", "the command to end")
    (session,) = box.sessions()
    assert session["end_reason"] == "idle"
    assert box.consistent()


def test_a_disk_that_fills_up_holds_up_no_request_and_loses_nothing_once_there_is_room(box):
    daemon = box.serve("--idle-shutdown", "off", "--price", "1 EUR/h")
    box.chat()
    process = psutil.Process(daemon.process.pid)
    room = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1, room[1]))
    assert box.chat()
    until(lambda: any("wait for the ledger" in words for words in box.status()["warnings"]), "the warning")
    assert box.chat()
    process.rlimit(psutil.RLIMIT_FSIZE, room)
    daemon.stop()  # what waits is written now
    (session,) = box.sessions()
    assert session["end_reason"] == "stopped"
    assert "busy" in [phase["phase"] for phase in session["phases"]]
    assert box.consistent()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_polite_signals_end_it_too(box, number):
    daemon = box.serve("--idle-shutdown", "off")
    assert "idle shutdown is off" in daemon.said
    assert box.status()["idle"]["stops_in_seconds"] is None
    daemon.signal(number)
    assert daemon.ended() == 0
    (session,) = box.sessions()
    assert session["end_reason"] == "stopped"


def test_sigterm_while_the_engine_starts_ends_both_and_answers_who_waits(box):
    daemon = box.serve("--idle-shutdown", "off", engine=("--start-seconds", "20", "--fail", "swallow-sigterm"))
    failed = []

    def ask():
        try:
            box.chat()
        except openai.APIError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    daemon.has_said("engine: starting")
    until(lambda: box.status()["engine"]["pid"], "the engine's process")
    daemon.signal()
    assert daemon.ended() == 0
    asking.join()
    assert "shutting down" in str(failed[0])
    assert not box.processes()
    assert box.consistent()


def stream_if_one_can(box):
    """Ask for a long answer as soon as the door opens, whatever becomes of it."""
    with contextlib.suppress(openai.OpenAIError, AssertionError), box.client() as client:
        until(lambda: is_open(box.port), "the door to open", patience_s=3)
        for _ in client.chat.completions.create(**QUESTION, stream=True, max_tokens=400):
            pass


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_murder_at_any_moment_leaves_no_process_and_a_ledger_that_adds_up(box):
    chance = random.Random(20260101)
    for number in range(1, ROUNDS + 1):
        daemon = box.spawn("--idle-shutdown", "2.5s", "--price", "1 EUR/h")
        asking = threading.Thread(target=stream_if_one_can, args=(box,))
        asking.start()
        let_pass(chance, 4)
        lived = daemon.process.poll() is None
        daemon.kill()
        until(lambda: not box.processes(), f"nothing to be left: {box.processes()}")
        asking.join()
        if (box.home / "ledger.db").exists() and box.run("sessions").returncode == 0:
            assert box.consistent()
        words = daemon.said.strip().rpartition("\n")[2] or "nothing yet"
        print(f"round {number}: {'killed' if lived else 'had ended'} after {words!r}: no process left, ledger right")
    last = box.serve("--idle-shutdown", "1s", "--price", "1 EUR/h")
    assert last.ended() == 0
    assert box.consistent()
    assert all(session["ended_at"] for session in box.sessions())


def test_murder_in_the_middle_of_a_stream_frees_the_gpu(box):
    daemon = box.serve("--idle-shutdown", "off", engine=SLOW)
    with box.client() as client:
        stream = iter(client.chat.completions.create(**QUESTION, stream=True, max_tokens=4000))
        next(stream)
        daemon.kill()
        until(lambda: not box.processes(), "the engine to be gone")
    again = box.serve("--idle-shutdown", "off")
    assert box.chat()
    assert "goes on" in again.said
    again.stop()
    assert box.consistent()


def test_murder_of_daemon_and_keeper_at_once_is_cleaned_up_by_the_next_daemon(box):
    daemon = box.serve("--idle-shutdown", "off", "--eager")
    box.engine_is("ready")
    (keeper,) = psutil.Process(daemon.process.pid).children()
    keeper.kill()
    daemon.kill()
    again = box.serve("--idle-shutdown", "off")
    again.stop()
    until(lambda: not box.processes(), "everything to be gone")
    assert box.consistent()


class Manager:
    """The service manager's end of the notification socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(20)

    def told(self, word):
        while True:
            message = self.socket.recv(4096).decode()
            if message.startswith(word):
                return message


def test_the_service_manager_is_told_of_readiness_life_and_the_end(box):
    manager = Manager(box.folder / "notify")
    daemon = box.spawn(NOTIFY_SOCKET=str(box.folder / "notify"), WATCHDOG_USEC="400000")
    assert "STATUS=engine off" in manager.told("READY=1")
    box.chat()  # READY means that the door is open
    manager.told("WATCHDOG=1")
    manager.told("WATCHDOG=1")
    engine = psutil.Process(box.status()["engine"]["pid"])
    assert "NOTIFY_SOCKET" not in engine.environ()
    daemon.signal()
    assert "EXTEND_TIMEOUT_USEC" in manager.told("STOPPING=1")
    assert daemon.ended() == 0
    manager.socket.close()


def test_a_service_manager_that_is_gone_disturbs_nothing(box):
    daemon = box.serve(NOTIFY_SOCKET=str(box.folder / "nobody"), WATCHDOG_USEC="400000")
    assert box.chat()
    daemon.stop()
    assert os.path.lexists(box.home / "ledger.db")
