"""Ask the daemon over its control socket; quick to import."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from costctl.config.home import Home, find_home
from costctl.errors import DaemonError, DaemonNotRunningError

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S = 10.0


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("costctl", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def home() -> Home:
    """Return the home of this call."""
    return find_home(os.environ)


def ask(method: str, route: str, *, timeout_s: float = _TIMEOUT_S) -> Any:
    """Return the daemon's answer as an object.

    Raises:
        DaemonNotRunningError: no daemon listens in this home.
        DaemonError: it does not answer in time or in kind.
    """
    path = home().control_socket
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request(method, route)
        answer = connection.getresponse()
        body = answer.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise DaemonNotRunningError(
            f"no costctl daemon runs in {path.parent}; start one with `costctl serve`"
        ) from None
    except OSError as error:
        raise DaemonError(f"the daemon in {path.parent} does not answer: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise DaemonError(f"the daemon answered {answer.status} {answer.reason}")
    return json.loads(body)
