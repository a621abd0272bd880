"""Logs: what the daemon says, to the terminal and a file, and what the engine prints, to a file; both rotated."""

from __future__ import annotations

import logging
import logging.handlers
import os
import queue
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_DAEMON_BYTES = 2 * 2**20
_ENGINE_BYTES = 16 * 2**20
_KEPT_FILES = 4


def start_daemon_log(path: Path) -> logging.handlers.QueueListener:
    """Send the daemon's log to standard error and to `path`, from a thread: a paused terminal must not stop us."""
    logging.raiseExceptions = False  # a full disk loses log lines, nothing else
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    under_systemd = "JOURNAL_STREAM" in os.environ
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(logging.Formatter("%(message)s" if under_systemd else "%(asctime)s %(message)s", "%H:%M:%S"))
    handlers: list[logging.Handler] = [terminal]
    file = logging.handlers.RotatingFileHandler(
        path, maxBytes=_DAEMON_BYTES, backupCount=_KEPT_FILES, encoding="utf-8", delay=True
    )
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handlers.append(file)
    listener = logging.handlers.QueueListener(lines, *handlers)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    root.handlers = [logging.handlers.QueueHandler(lines)]
    listener.start()
    return listener


class EngineLog:
    """The engine's own words, as it printed them."""

    def __init__(self, path: Path) -> None:
        self._handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=_ENGINE_BYTES, backupCount=_KEPT_FILES, encoding="utf-8", errors="replace", delay=True
        )
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, line: str) -> None:
        """Add a line."""
        self._handler.emit(logging.LogRecord("engine", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()
