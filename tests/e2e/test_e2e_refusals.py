"""Bad input: one line that says what to do, the right exit code, and nothing left behind."""

import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys

import pytest
from running_costctl import PATIENCE_S, QUICK, one_line

SIM = ("serve", "--engine", "sim", "--gpu", "sim")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--no-such-flag"], "No such option"),
        (["servee"], "No such command"),
        ([*SIM, "--idle-shutdown", "30 parsecs"], "30 parsecs"),
        ([*SIM, "--idle-shutdown", "-5m"], "-5m"),
        ([*SIM, "--idle-shutdown", "0s"], "0s"),
        ([*SIM, "--price", "cheap"], "cheap"),
        ([*SIM, "--price", "1.8"], "1.8"),
        ([*SIM, "--price", "-1 CNY/h"], "-1"),
        ([*SIM, "--port", "0"], "--port"),
        ([*SIM, "--port", "70000"], "--port"),
        ([*SIM, "--port", "http"], "--port"),
        ([*SIM, "--max-body", "many"], "many"),
        ([*SIM, "--on-idle", "explode"], "explode"),
        ([*SIM, "--on-idle", "command:"], "command:"),
        (["serve", "--engine", "tgi"], "tgi"),
        (["serve", "--gpu", "abacus"], "abacus"),
        (["serve", "--engine", "command"], "--engine-command"),
        (["serve", "--engine", "command", "--engine-command", "x", "--gpu", "none"], "{port}"),
        (["serve", "--engine", "command", "--engine-command", "x 'y {port}", "--gpu", "none"], "engine-command"),
        ([*SIM, "--", "--port", "9"], "--port"),
        ([*SIM, "--", "--api-key", "s3cret"], "--api-key-file"),
        ([*SIM, "--api-key-file", "/no/such/file"], "/no/such/file"),
        (["report", "--month", "2026-13"], "2026-13"),
        (["report", "--month", "last"], "last"),
        (["report", "--tz", "Mars/Olympus"], "Mars/Olympus"),
        (["sessions", "--limit", "0"], "--limit"),
        (["sessions", "--since", "yesterday-ish"], "yesterday-ish"),
        (["logs", "-n", "x"], "-n"),
        (["stop", "--timeout", "soon"], "--timeout"),
        (["--config", "/no/such/file", "config", "show"], "/no/such/file"),
    ],
)
def test_what_cannot_be_understood_is_named_with_exit_code_2(box, arguments, words):
    said = one_line(box.here(*arguments), code=2)
    assert words in said
    assert "s3cret" not in said
    assert not box.home.exists()


def test_a_host_for_everybody_needs_keys_or_a_loud_no(box):
    said = box.refused(*SIM, "--host", "0.0.0.0", code=5)
    assert "--api-key-file" in said
    assert "--no-auth" in said
    daemon = box.serve("--host", "0.0.0.0", "--no-auth")
    assert "WARNING: everybody who reaches 0.0.0.0" in daemon.said
    daemon.stop()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('model = "m"\nport = 8000\nidle-shutdown = \n', "line 3", "invalid value"),
        ('model = "m"\n\nidle-shutdwon = "5m"\n', "line 3", "did you mean 'idle-shutdown'"),
        ('# x\nprice = "much"\n', "line 2", "much"),
        ("port = true\n", "line 1", "port"),
        ('api-keys = "k3y"\n', "line 1", "do not belong in this file"),
        ("[idle]\nwindow = 3\n", "line 1", "idle"),
    ],
)
@pytest.mark.parametrize("command", [("config", "show"), SIM])
def test_a_bad_settings_file_is_named_with_line_and_key(box, text, line, words, command):
    (box.folder / "costctl.toml").write_text(text)
    said = one_line(box.here(*command), code=2)
    assert line in said
    assert words in said
    assert "costctl.toml" in said
    assert "k3y" not in said
    assert said.count("\n") == 1


def test_settings_come_from_file_variable_and_flag_and_say_so(box):
    (box.folder / "costctl.toml").write_text('model = "file/model"\nport = 9000\nidle-shutdown = "5m"\n')
    rows = {row["name"]: row for row in box.json("config", "show")}
    assert rows["model"]["value"] == "file/model"
    assert "line 1" in rows["model"]["from"]
    shown = box.ok("config", "show", COSTCTL_PORT="9001", COSTCTL_API_KEYS="k3y")
    assert "9001" in shown
    assert "COSTCTL_PORT" in shown
    assert "k3y" not in shown
    assert "***" in shown


def test_without_a_daemon_status_and_stop_say_how_to_start_one(box):
    for command in (["status"], ["stop", "--engine"]):
        assert "costctl serve" in box.refused(*command, code=1)


def test_without_a_ledger_reports_say_what_to_do(box):
    for command in (["sessions"], ["report"]):
        assert "costctl serve" in box.refused(*command, code=1)
    assert "there is no log" in box.refused("logs", code=1)


def test_a_second_daemon_in_the_same_home_is_told_of_the_first(box):
    first = box.serve("--idle-shutdown", "off")
    said = box.refused(*SIM, "--port", "1", code=5)
    assert f"(process {first.process.pid}) already runs in {box.home}" in said
    assert box.status()["pid"] == first.process.pid


def test_a_port_in_use_is_named_with_its_owner_and_leaves_no_open_session(box):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", box.port))
        taken.listen()
        daemon = box.spawn()
        assert daemon.ended() == 1
    last = daemon.said.splitlines()[-1]
    assert f"cannot listen on 127.0.0.1:{box.port}: process {os.getpid()} (" in last
    assert "--port" in last
    assert "Traceback" not in daemon.said
    assert not box.processes()
    assert [session["ended_at"] is None for session in box.sessions()] in ([], [False])
    assert box.consistent()


def test_an_address_that_is_not_ours_is_refused(box):
    daemon = box.spawn("--host", "192.0.2.1", "--no-auth")
    assert daemon.ended() == 1
    assert "cannot listen on 192.0.2.1" in daemon.said
    assert "Traceback" not in daemon.said


@pytest.mark.parametrize("home", ["file/home", "/proc/costctl"])
def test_a_home_that_cannot_be_written_is_named(box, home):
    (box.folder / "file").write_text("x")
    path = box.folder / home
    said = box.refused(*SIM, "--port", str(box.port), code=1, COSTCTL_HOME=str(path))
    last = said.splitlines()[-1]
    assert str(path) in last
    assert "COSTCTL_HOME" in last


def test_a_home_whose_name_is_too_long_for_a_socket_is_named(box):
    said = box.refused(*SIM, "--port", str(box.port), code=1, COSTCTL_HOME=str(box.folder / ("x" * 120)))
    assert "set COSTCTL_HOME to a shorter path" in said.splitlines()[-1]


@pytest.mark.parametrize("name", ["logs", "machine-id", "ledger.db", "control.sock"])
def test_a_folder_where_a_file_should_be_or_the_reverse_is_one_line(box, name):
    box.home.mkdir()
    if name == "logs":
        (box.home / name).write_text("x")
    else:
        (box.home / name / "in the way").mkdir(parents=True)
    done = box.run(*SIM, "--port", str(box.port), "--idle-shutdown", "1s", "--", *QUICK)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert name in done.stderr.splitlines()[-1]


def test_a_disk_that_takes_nothing_ends_in_one_line(box):
    def no_space():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    # The measurement of coverage would want to write a file of its own.
    unmeasured = {name: value for name, value in box.environment.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-m", "costctl", *SIM, "--port", str(box.port)],
        env=unmeasured,
        cwd=box.folder,
        preexec_fn=no_space,
        check=False,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    said = done.stderr.decode()
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert str(box.home) in said


def test_a_ledger_of_a_newer_costctl_is_refused_untouched(box):
    box.serve().stop()
    path = box.home / "ledger.db"
    with sqlite3.connect(path) as ledger:
        ledger.execute("UPDATE alembic_version SET version_num = '9999'")
    ledger.close()
    for command in ([*SIM, "--port", str(box.port)], ["sessions"], ["report"]):
        done = box.run(*command)
        assert done.returncode == 1
        assert "newer" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_a_ledger_that_is_none_is_refused(box):
    box.home.mkdir()
    (box.home / "ledger.db").write_text("not a ledger, but long enough to be taken for one" * 100)
    for command in ([*SIM, "--port", str(box.port)], ["sessions"], ["report"]):
        done = box.run(*command)
        assert done.returncode == 1
        assert "ledger.db" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_without_vllm_or_a_gpu_the_error_says_what_to_install(box):
    said = box.refused("serve", code=1, PATH="/nowhere")
    assert "--engine sim" in said
    said = box.refused("serve", "--gpu", "nvml", code=1)
    assert "--gpu none" in said


@pytest.mark.parametrize("what", ["garbage", "silence", "half"])
def test_a_control_socket_that_does_not_behave_is_one_line(box, what):
    box.home.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as impostor:
        impostor.bind(str(box.home / "control.sock"))
        impostor.listen()
        asking = subprocess.Popen(
            [sys.executable, "-m", "costctl", "status"], env=box.environment, stderr=subprocess.PIPE, text=True
        )
        connection, _ = impostor.accept()
        connection.recv(1000)
        answers = {"garbage": b"\xff\xfe\r\n", "silence": b"", "half": b'HTTP/1.1 200 OK\r\n\r\n{"engine"'}
        connection.sendall(answers[what])
        connection.close()
        _, said = asking.communicate(timeout=PATIENCE_S)
    assert asking.returncode == 1
    assert said.count("\n") == 1, said
    assert said.startswith("costctl: the daemon in")


def test_a_reader_that_has_had_enough_is_no_error(box):
    box.serve().stop()
    shell = f"{sys.executable} -m costctl config show --json | head -n 1"
    command = ["bash", "-c", shell]
    done = subprocess.run(command, env=box.environment, cwd=box.folder, check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[\n", "")
