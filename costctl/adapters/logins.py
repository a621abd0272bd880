"""People at the machine's terminals, seen by when they last typed."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from costctl.domain.durations import format_duration
from costctl.domain.policy import Evidence

NAME = "logins"


class TerminalLogins:
    """Reads the logged-in users from the system's login records (port Logins).

    A terminal's last access is its last key stroke (what `w` shows as idle); a shell merely left open is quiet.
    """

    def read(self, recent_s: float) -> Evidence:
        """Return whether somebody typed within the last `recent_s` seconds."""
        try:
            users = psutil.users()
        except (OSError, RuntimeError) as error:
            return Evidence(name=NAME, active=None, detail=f"the login records: {error}")
        typed = [(age, user.name, user.terminal) for user in users if (age := _idle_s(user.terminal)) is not None]
        if not typed:
            return Evidence(name=NAME, active=False, detail="nobody is logged in at a terminal")
        age, name, terminal = min(typed)
        words = f"{name} typed at {terminal} {format_duration(age)} ago"
        return Evidence(name=NAME, active=age < recent_s, detail=words, age_s=age)


def _idle_s(terminal: str | None) -> float | None:
    if not terminal:
        return None
    try:
        return max(0.0, time.time() - (Path("/dev") / terminal).stat().st_atime)
    except OSError:
        return None  # a stale record: the terminal is gone
