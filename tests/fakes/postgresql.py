"""A real PostgreSQL server that the tests start, on a Unix socket of its own."""

import contextlib
import getpass
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

PATIENCE_S = 30
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
INITDB = shutil.which("initdb") or next((str(path / "initdb") for path in reversed(_BINARIES)), None)
needs_postgresql = pytest.mark.skipif(
    INITDB is None or find_spec("psycopg") is None,
    reason="PostgreSQL or its driver is not installed (Debian: postgresql; Python: psycopg)",
)
_USER = "postgres" if os.getuid() == 0 else getpass.getuser()
"""The server does not run as root; Debian's package has made this user."""


class PostgreSQL:
    """A server with its files in a folder that is short, since sockets have short names, and not root's."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pg-")
        if os.getuid() == 0:
            shutil.chown(self.folder, _USER)
        self._numbers = itertools.count(1)
        data = f"{self.folder}/data"
        initdb = [INITDB, "-D", data, "-U", "costctl", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **self._as_user())
        server = [str(Path(INITDB).with_name("postgres")), "-D", data, "-k", self.folder]
        quick = ["-c", "listen_addresses=", "-c", "fsync=off"]
        self.process = subprocess.Popen([*server, *quick], stderr=subprocess.DEVNULL, **self._as_user())
        self._admin = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        self._wait()

    def url(self, database):
        return f"postgresql+psycopg://costctl@/{database}?host={self.folder}"

    def make(self, template="template1"):
        """Make a database like `template`, and return its URL."""
        name = f"ledger_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def remove(self, url):
        self._run(f"DROP DATABASE {url.partition('?')[0].rpartition('/')[2]} WITH (FORCE)")

    def stop(self):
        self._admin.dispose()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE_S)
        shutil.rmtree(self.folder)

    def _as_user(self):
        return {"user": _USER, "cwd": self.folder} if os.getuid() == 0 else {}

    def _run(self, statement):
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    def _wait(self):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert self.process.poll() is None
            with contextlib.suppress(Exception):
                self._run("SELECT 1")
                return
            assert time.monotonic() < deadline
            time.sleep(0.05)
