"""The time zone that people see: the one they name, or this machine's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCALTIME = Path("/etc/localtime")


def named_zone(name: str) -> ZoneInfo:
    """Return the time zone called `name`, like Europe/Berlin.

    Raises:
        BadValueError: the system knows no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadValueError(
            f"{name!r} is not a time zone that this system knows: write it like Europe/Berlin or UTC"
        ) from None


def system_zone(environ: Mapping[str, str] | None = None, localtime: Path = _LOCALTIME) -> ZoneInfo:
    """Return the time zone of this machine: `TZ`, else its local time, else UTC. Raises BadValueError."""
    name = (os.environ if environ is None else environ).get("TZ", "").removeprefix(":")
    if name:
        return named_zone(name)
    try:
        with localtime.open("rb") as rules:
            return ZoneInfo.from_file(rules, key=_name_of(localtime))
    except (OSError, ValueError):
        return ZoneInfo("UTC")


def _name_of(localtime: Path) -> str:
    _, found, name = str(localtime.resolve()).partition("/zoneinfo/")
    return name if found else "local time"
