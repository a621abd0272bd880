"""The real program in a folder of its own: real processes, free ports, a simulated engine and GPU."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import openai
import psutil

from costctl.cli import main
from costctl.ledger.store import Ledger

PATIENCE_S = 30
STEP_S = 0.02
MODEL = "Qwen/Qwen3-1.7B"
QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
QUICK = ("--start-seconds", "0.2", "--first-token-seconds", "0", "--tokens-per-second", "0")
_OURS = ("COSTCTL_", "VLLM_", "NOTIFY_", "WATCHDOG_", "JOURNAL_", "NO_COLOR", "XDG_", "FORCE_COLOR")


def until(condition, what, *, patience_s=PATIENCE_S):
    """Return the first true value of `condition`."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(STEP_S)
    raise AssertionError(f"waited {patience_s} s for {what}")


def let_pass(chance: random.Random, most_s: float) -> None:
    """Let a random part of `most_s` pass: the moment of a blow must not depend on any event."""
    time.sleep(chance.uniform(0, most_s))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def one_line(done, code):
    """Return what a refused command said; it must be for people."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


class Box:
    """One machine with costctl on it."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ct"))
        self.home = self.folder / "home"
        self.runtime = self.folder / "run"
        self.runtime.mkdir(mode=0o700)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self.environment = kept | {
            "COSTCTL_HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "HOME": str(self.folder),
        }
        self.port = free_port()
        self.daemons = []

    # --- commands ---

    def run(self, *arguments, program=("-m", "costctl"), **environment):
        return subprocess.run(
            [sys.executable, *program, *arguments],
            env=self.environment | environment,
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def ok(self, *arguments, **environment):
        """What a command that has to go well prints."""
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout

    def here(self, *arguments):
        """What `run` does, in this process, which is quicker; only for what ends before anything is done."""
        out, err = io.StringIO(), io.StringIO()
        before, argv = dict(os.environ), sys.argv
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            os.environ.update(self.environment)
            sys.argv = ["costctl", *arguments]
            try:
                main()
            except SystemExit as end:
                return subprocess.CompletedProcess(arguments, end.code, out.getvalue(), err.getvalue())
            finally:
                sys.argv = argv
                os.environ.clear()
                os.environ.update(before)

    def refused(self, *arguments, code, **environment):
        """The one line on standard error of a command that has to be refused."""
        return one_line(self.run(*arguments, **environment), code)

    def json(self, *arguments):
        return json.loads(self.ok(*arguments, "--json"))

    def status(self):
        return self.json("status")

    # --- daemons ---

    def spawn(self, *arguments, engine=QUICK, wrapper=(), **environment):
        """Start `costctl serve` without waiting for anything."""
        command = ("serve", "--engine", "sim", "--gpu", "sim", "--port", str(self.port), *arguments, "--", *engine)
        daemon = Daemon(self, (*wrapper, sys.executable, "-m", "costctl", *command), environment)
        self.daemons.append(daemon)
        return daemon

    def serve(self, *arguments, **options):
        """Start `costctl serve` and wait until its front door is open."""
        return self.spawn(*arguments, **options).opened()

    def client(self, key="unused"):
        return openai.OpenAI(
            base_url=f"http://127.0.0.1:{self.port}/v1", api_key=key, max_retries=0, timeout=PATIENCE_S
        )

    def engine_is(self, state):
        """Wait for a state of the engine."""
        until(lambda: json.loads(self.get("/health")[1])["engine"] == state, f"the engine to be {state}")

    def chat(self):
        """Ask one question; return the answer's text."""
        with self.client() as client:
            return client.chat.completions.create(**QUESTION).choices[0].message.content

    def get(self, path):
        """Status and body."""
        return self._ask(path, None)

    def post(self, path, body=b"{}"):
        """Status and body."""
        return self._ask(path, body)

    def _ask(self, path, body):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    # --- traces ---

    def ledger(self):
        return Ledger.read(f"sqlite:///{self.home / 'ledger.db'}")

    def consistent(self):
        """Whether the ledger has nothing to object to."""
        with self.ledger() as ledger:
            problems = ledger.check()
        assert not problems, problems
        return True

    def sessions(self):
        return self.json("sessions")

    def processes(self):
        """Every process that descends from this box's commands, also orphans."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process):
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get("COSTCTL_HOME") == str(self.home)
        return False

    def log(self, name="daemon.log"):
        path = self.home / "logs" / name
        return path.read_text() if path.exists() else ""

    def close(self):
        for daemon in self.daemons:
            daemon.kill()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Daemon:
    """One `costctl serve`."""

    def __init__(self, box, command, environment):
        self.box = box
        self.output = box.folder / f"out{len(box.daemons)}"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=box.environment | environment,
                cwd=box.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self):
        return self.output.read_text()

    def opened(self):
        def listening():
            assert self.process.poll() is None, self.said
            return "listening on" in self.said

        until(listening, "the front door to open")
        return self

    def has_said(self, text):
        return until(lambda: text in self.said, f"{text!r} in:\n{self.said}")

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def ended(self):
        """Its exit code."""
        return self.process.wait(PATIENCE_S)

    def stop(self):
        self.signal()
        assert self.ended() == 0, self.said

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
