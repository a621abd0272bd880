"""Tell systemd how the daemon is, if it asked to be told (the sd_notify protocol, sd_notify(3))."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


class ServiceManager:
    """The service manager that started us, if any; without one every call does nothing."""

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")  # not for the engine's processes
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        asked = os.environ.pop("WATCHDOG_USEC", "")
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
            channel.sendto(state.encode(), self._address)
