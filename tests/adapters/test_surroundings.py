"""Locks, logins, the service manager, logs, the clock."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest

from costctl.adapters.clock import SystemClock
from costctl.adapters.locks import HomeLock, port_owner
from costctl.adapters.logins import TerminalLogins
from costctl.adapters.logs import EngineLog
from costctl.adapters.systemd import ServiceManager
from costctl.errors import CostctlError, DaemonRunningError

# --- one daemon per home ---------------------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from costctl.adapters.locks import HomeLock
HomeLock(Path(sys.argv[1])).take()
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "daemon.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_a_second_daemon_is_told_which_process_is_there_and_what_to_do(holder, tmp_path):
    with pytest.raises(DaemonRunningError) as caught:
        HomeLock(tmp_path / "daemon.lock").take()
    assert str(caught.value) == (
        f"a costctl daemon (process {holder.pid}) already runs in {tmp_path}: "
        "see `costctl status`, or give this one another home with COSTCTL_HOME"
    )


def test_a_killed_daemon_leaves_no_lock_behind(holder, tmp_path):
    holder.kill()
    holder.wait()
    lock = HomeLock(tmp_path / "daemon.lock")
    lock.take()
    lock.release()


def test_a_released_lock_lets_the_next_one_in(tmp_path):
    path = tmp_path / "daemon.lock"
    first, second = HomeLock(path), HomeLock(path)
    first.take()
    with pytest.raises(DaemonRunningError):
        second.take()
    first.release()
    second.take()
    second.release()
    second.release()


def test_a_home_is_made_for_this_user_only(tmp_path):
    lock = HomeLock(tmp_path / "new" / "daemon.lock")
    lock.take()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / "daemon.lock").stat().st_mode) == 0o600
    lock.release()


def test_a_home_that_cannot_be_made_is_said_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CostctlError, match="set COSTCTL_HOME to a folder that can be written"):
        HomeLock(tmp_path / "file" / "daemon.lock").take()


# --- who holds a port ------------------------------------------------------------------------------------------------


def test_the_owner_of_a_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        owner = port_owner(server.getsockname()[1])
    assert owner.startswith(f"process {os.getpid()} (")


def test_a_port_that_nobody_holds_has_no_known_owner():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert port_owner(port) == "another program"


# --- people ----------------------------------------------------------------------------------------------------------


def logins(*users, quiet_s=None):
    people = [SimpleNamespace(name=name, terminal=terminal) for name, terminal in users]
    return TerminalLogins(lambda: people, (quiet_s or {}).get)


def test_nobody_is_quiet():
    evidence = logins().read(10.0)
    assert (evidence.name, evidence.active, evidence.detail) == ("logins", False, "nobody is logged in at a terminal")


def test_who_typed_last_is_named_with_when():
    people = logins(("ann", "pts/0"), ("bob", "pts/1"), quiet_s={"pts/0": 3600.0, "pts/1": 4.0})
    evidence = people.read(10.0)
    assert (evidence.active, evidence.age_s, evidence.detail) == (True, 4.0, "bob typed at pts/1 4s ago")


def test_a_shell_that_is_merely_open_is_no_activity():
    evidence = logins(("ann", "pts/0"), quiet_s={"pts/0": 3600.0}).read(10.0)
    assert (evidence.active, evidence.age_s) == (False, 3600.0)


def test_logins_without_a_terminal_and_stale_records_are_passed_over():
    assert logins(("ann", None), ("bob", ""), ("eve", "pts/9")).read(10.0).active is False


def test_login_records_that_cannot_be_read_are_not_quiet():
    def unreadable():
        raise PermissionError(13, "Permission denied")

    evidence = TerminalLogins(unreadable).read(10.0)
    assert (evidence.active, evidence.detail) == (None, "the login records: [Errno 13] Permission denied")


def test_this_machines_logins_can_be_read():
    assert TerminalLogins().read(10.0).name == "logins"


# --- the service manager ---------------------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path):
    """A socket as the service manager has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(5)
        yield channel


def test_the_service_manager_is_told_how_the_daemon_is(manager):
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"}
    service = ServiceManager(environ)
    service.ready("engine off")
    service.alive("engine ready")
    service.stopping("stopping (SIGTERM)", within_s=90.0)
    assert [manager.recv(4096).decode() for _ in range(3)] == [
        "READY=1\nSTATUS=engine off",
        "WATCHDOG=1\nSTATUS=engine ready",
        "STOPPING=1\nSTATUS=stopping (SIGTERM)\nEXTEND_TIMEOUT_USEC=90000000",
    ]
    assert service.watchdog_s == 30.0
    assert environ == {}, "these are not for the engine's processes"


def test_an_abstract_socket_is_reached_too():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0costctl-test-{os.getpid()}")
        channel.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": f"@costctl-test-{os.getpid()}"}).ready("x")
        assert channel.recv(4096) == b"READY=1\nSTATUS=x"


def test_a_service_manager_that_does_not_read_holds_nothing_up(manager):
    service = ServiceManager({"NOTIFY_SOCKET": manager.getsockname()})
    for _ in range(2000):
        service.alive("x" * 1000)


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/no/such/socket"}, {"WATCHDOG_USEC": "30000000"}])
def test_without_a_service_manager_nothing_happens(environ):
    service = ServiceManager(dict(environ))
    service.ready("x")
    assert service.watchdog_s is None


# --- the engine's log, the clock -------------------------------------------------------------------------------------


def test_the_engines_lines_are_kept_as_they_were_printed(tmp_path):
    log = EngineLog(tmp_path / "engine.log")
    for line in ("100 % done", "%s %d {}", "\udcff odd bytes", "ünï"):
        log.write(line)
    log.close()
    lines = (tmp_path / "engine.log").read_text(encoding="utf-8").splitlines()
    assert lines == ["100 % done", "%s %d {}", "? odd bytes", "ünï"]


async def test_the_systems_clock_is_a_clock():
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= before
    assert clock.now().utcoffset().total_seconds() == 0
    assert asyncio.iscoroutinefunction(clock.sleep)
