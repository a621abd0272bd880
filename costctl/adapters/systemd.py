"""Tell systemd how the daemon is, if it asked to be told (the sd_notify protocol, sd_notify(3))."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class ServiceManager:
    """The service manager that started us, if any; without one every call does nothing.

    Its variables are taken out of `environ`: they are not for the engine's processes.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        asked = environ.pop("WATCHDOG_USEC", "")
        self.watchdog_s = int(asked) / 1e6 if asked.isdigit() and self._address else None

    def ready(self, status: str) -> None:
        """Say that the front door is open."""
        self._tell(f"READY=1\nSTATUS={status}")

    def alive(self, status: str) -> None:
        """Feed the watchdog."""
        self._tell(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self, status: str, *, within_s: float) -> None:
        """Say that the daemon ends, and how long that may take."""
        self._tell(f"STOPPING=1\nSTATUS={status}\nEXTEND_TIMEOUT_USEC={int(within_s * 1e6)}")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(0)  # whoever does not read must not hold up requests
            channel.sendto(state.encode(), self._address)
