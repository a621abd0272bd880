"""People at the machine's terminals, seen by when they last typed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from costctl.domain.durations import format_duration
from costctl.domain.policy import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME = "logins"


class TerminalLogins:
    """Reads the logged-in users from the system's login records (port Logins).

    A terminal's last access is its last key stroke (what `w` shows as idle); a shell merely left open is quiet.
    `users` names who is logged in and where, `quiet_s` how long a terminal has been quiet, None if it is gone.
    """

    def __init__(
        self,
        users: Callable[[], Iterable[Any]] = psutil.users,
        quiet_s: Callable[[str], float | None] = lambda terminal: _quiet_s(Path("/dev") / terminal),
    ) -> None:
        self._users = users
        self._quiet_s = quiet_s

    def read(self, recent_s: float) -> Evidence:
        """Return whether somebody typed within the last `recent_s` seconds."""
        try:
            users = [(user.name, user.terminal) for user in self._users() if user.terminal]
        except (OSError, RuntimeError) as error:
            return Evidence(name=NAME, active=None, detail=f"the login records: {error}")
        typed = [(age, name, terminal) for name, terminal in users if (age := self._quiet_s(terminal)) is not None]
        if not typed:
            return Evidence(name=NAME, active=False, detail="nobody is logged in at a terminal")
        age, name, terminal = min(typed)
        words = f"{name} typed at {terminal} {format_duration(age)} ago"
        return Evidence(name=NAME, active=age < recent_s, detail=words, age_s=age)


def _quiet_s(terminal: Path) -> float | None:
    try:
        return max(0.0, time.time() - terminal.stat().st_atime)
    except OSError:
        return None  # a stale record: the terminal is gone
