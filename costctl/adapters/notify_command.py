"""Messages to a command of one's own: a script that pages, posts or writes a file (port Notifier)."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from costctl.errors import NotificationError

if TYPE_CHECKING:
    from costctl.domain.messages import Message

_PATIENCE_S = 60.0


class CommandNotifier:
    """One command, run by the shell: the body on its standard input, the title in COSTCTL_TITLE.

    Attached files lie in the folder COSTCTL_FILES while it runs.
    """

    def __init__(self, name: str, command: str, *, patience_s: float = _PATIENCE_S) -> None:
        self._name = name
        self._command = command
        self._patience_s = patience_s

    def send(self, message: Message) -> None:
        """Run it with `message` and wait for its end; blocking. Raises NotificationError."""
        with TemporaryDirectory(prefix="costctl-") as home:
            body, files = Path(home) / "body", Path(home) / "files"
            body.write_text(message.body, encoding="utf-8")
            files.mkdir()
            for attachment in message.attachments:
                (files / attachment.name).write_bytes(attachment.content)
            problem = self._run(body, {"COSTCTL_TITLE": message.title, "COSTCTL_FILES": str(files)})
        if problem:
            raise NotificationError(f"{self._name!r} got nothing: {problem}")

    def _run(self, body: Path, told: dict[str, str]) -> str | None:
        """Return what went wrong, if anything did."""
        with body.open("rb") as said:
            process = subprocess.Popen(
                ["/bin/sh", "-c", self._command],
                env=os.environ | told,
                stdin=said,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that all of it can be ended
            )
        try:
            code = process.wait(self._patience_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"its command was still running after {self._patience_s:.0f} s"
        return f"its command ended with exit code {code}" if code else None
