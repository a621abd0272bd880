"""The keeper: a small process between the daemon and the engine, so that the engine dies with the daemon.

Run by path with a bare interpreter: `python -I -S keeper.py STATUS_FD RECORD ENGINE ARGS...`. Standard input is a pipe
whose other end only the daemon holds: when the daemon ends, however it ends, the keeper reads end-of-file and kills
every process of the engine. The daemon writes `t` to terminate the engine's first process and `k` to kill them all.
The keeper writes lines to STATUS_FD: `started PID`, `failed ERRNO`, `exited CODE SIGNAL`, `gone`.

It is a child subreaper: whatever the engine starts, in its process group or out of it, ends up as a descendant of the
keeper, so "no children left" is proof that nothing of the engine lives. (SIGKILL of vLLM's API server alone leaves its
engine core alive with all its VRAM: seen on an H100 with vLLM 0.21.)

Standard library only, and little of it: it starts with every engine.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILL_AGAIN_AFTER_S = 0.1
GIVE_UP_AFTER_KILLS = 600
"""Kill attempts once the daemon is dead: about a minute, then only a reboot helps."""


def main(arguments: list[str]) -> int:
    """Start the engine, keep it, and return when nothing of it is left."""
    status_fd, record, command = int(arguments[0]), arguments[1], arguments[2:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        # It must outlive a terminal's Ctrl-C and a service manager's SIGTERM, which the daemon answers with a drain.
        signal.signal(number, signal.SIG_IGN)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    # Its end-of-file means that the keeper is dead, whoever else lives.
    os.set_inheritable(status_fd, False)  # noqa: FBT003 - it takes no keyword
    keeper = Keeper(status_fd)
    keeper.start(command, record)
    keeper.keep()
    if os.path.exists(record):  # noqa: PTH110 - pathlib costs more than all the rest of this program
        os.unlink(record)  # noqa: PTH108
    return 0


class Keeper:
    """One engine and everything that descends from it."""

    def __init__(self, status_fd: int) -> None:
        self.status_fd = status_fd
        self.leader = 0
        self.killing = False
        self.daemon_lives = True
        self.kills = 0
        self.wake_fd, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)

    def start(self, command: list[str], record: str) -> None:
        """Start the engine as the leader of a session of its own."""
        error_read, error_write = os.pipe()
        keeper = os.getpid()
        self.leader = os.fork()
        if self.leader == 0:
            os.close(error_read)
            _become_engine(command, record, error_write, keeper)
        os.close(error_write)
        failure = os.read(error_read, 32)
        os.close(error_read)
        self.say(f"failed {failure.decode()}" if failure else f"started {self.leader}")

    def keep(self) -> None:
        """Serve the daemon and reap until no descendant is left."""
        while self.reap():
            watched = [self.wake_fd, 0] if self.daemon_lives else [self.wake_fd]
            ready, _, _ = select.select(watched, [], [], KILL_AGAIN_AFTER_S if self.killing else None)
            if self.wake_fd in ready:
                os.read(self.wake_fd, 4096)
            if 0 in ready:
                self.obey(os.read(0, 4096))
            if self.killing:
                self.kill_all()
            if self.kills > GIVE_UP_AFTER_KILLS and not self.daemon_lives:
                return
        self.say("gone")

    def obey(self, orders: bytes) -> None:
        """Carry out what the daemon wrote; end-of-file means that it is dead."""
        if not orders:
            self.daemon_lives = False
        if not orders or b"k" in orders:
            self.killing = True
        elif b"t" in orders and self.leader:
            os.kill(self.leader, signal.SIGTERM)

    def reap(self) -> bool:
        """Collect ended children; return whether any live on."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.leader:
                self.leader = 0
                by_signal = os.WIFSIGNALED(status)
                code = 0 if by_signal else os.WEXITSTATUS(status)
                self.say(f"exited {code} {os.WTERMSIG(status) if by_signal else 0}")

    def kill_all(self) -> None:
        """Kill every descendant: children come here by themselves once their parents are dead."""
        self.kills += 1
        for pid in _descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def say(self, line: str) -> None:
        """Tell the daemon, if it lives."""
        try:
            os.write(self.status_fd, f"{line}\n".encode())
        except OSError:
            self.killing = True


def _become_engine(command: list[str], record: str, error_fd: int, keeper: int) -> None:
    """Turn this fresh child into the engine; never returns."""
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        # The record lies there before the engine runs, so no engine ever runs unrecorded.
        fd = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(fd, f"{os.getpid()} {_start_ticks(os.getpid())} {_boot_id()}\n".encode())
        os.close(fd)
        os.execvp(command[0], command)  # noqa: S606 - an argument list without a shell
    except OSError as error:
        os.write(error_fd, str(error.errno).encode())
    os._exit(127)


def _descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:  # noqa: PTH123
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue  # it ended while we looked
            parents.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def _start_ticks(pid: int) -> str:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return file.read().rpartition(b")")[2].split()[19].decode()


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
        return file.read().strip()


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
