"""Log lines as vLLM 0.32 prints them, on standard error."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import TextIO


class EngineLog:
    """Writes as vLLM's API server and, for the quiet child, as its engine core."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._api_server = f"(APIServer pid={os.getpid()})"
        self._core = "(EngineCore pid=?)"

    def name_core(self, pid: int) -> None:
        """Let the engine core's lines carry its process id."""
        self._core = f"(EngineCore pid={pid})"

    def api(self, place: str, text: str, level: str = "INFO") -> None:
        """Write `text` as the API server, from `place` (`file.py:line`) in vLLM's source."""
        self._write(self._api_server, place, text, level)

    def core(self, place: str, text: str, level: str = "INFO") -> None:
        """Write `text` as the engine core."""
        self._write(self._core, place, text, level)

    def raw(self, text: str) -> None:
        """Write `text` as it is: a traceback, a progress bar, a line of uvicorn's."""
        self._out.write(text + "\n")
        self._out.flush()

    def _write(self, process: str, place: str, text: str, level: str) -> None:
        # vLLM's log goes by local time, and repeats the prefix on every line of a text.
        stamp = datetime.now().astimezone().strftime("%m-%d %H:%M:%S")
        prefix = f"{process} {level} {stamp} [{place}] "
        self.raw("\n".join(prefix + line for line in text.split("\n")))
