"""Ask the daemon over its control socket; quick to import."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from costctl.config.home import Home, find_home
from costctl.errors import DaemonError, DaemonNotRunningError

_TIMEOUT_S = 10.0


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
    try:
        answer = _exchange(str(path), f"{method} {route} HTTP/1.0\r\n\r\n".encode(), timeout_s)
    except (FileNotFoundError, ConnectionRefusedError):
        raise DaemonNotRunningError(
            f"no costctl daemon runs in {path.parent}; start one with `costctl serve`"
        ) from None
    except OSError as error:
        raise DaemonError(f"the daemon in {path.parent} does not answer: {error}") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode(errors="replace")
    if " 200 " not in status:
        raise DaemonError(f"the daemon in {path.parent} answered {status!r}: see `costctl logs --daemon`")
    try:
        return json.loads(body)
    except ValueError:
        raise DaemonError(f"the daemon in {path.parent} broke off its answer: see `costctl logs --daemon`") from None


def _exchange(path: str, question: bytes, timeout_s: float) -> bytes:
    """Return the whole answer. HTTP/1.0 ends with the connection, so this needs no HTTP library to be imported."""
    parts = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        connection.connect(path)
        connection.sendall(question)
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)
