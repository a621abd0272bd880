"""Time zones, and the points in time that people name."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from costctl.domain.durations import parse_duration
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
    """Return the time zone of this machine: `TZ`, else its local time, else UTC."""
    name = (os.environ if environ is None else environ).get("TZ", "").removeprefix(":")
    if name:
        return named_zone(name)
    try:
        with localtime.open("rb") as rules:
            return ZoneInfo.from_file(rules, key=_name_of(localtime))
    except (OSError, ValueError):
        return ZoneInfo("UTC")


def parse_since(text: str, *, now: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant that `text` names: a date or time in `zone`, or a duration before `now`.

    Raises:
        BadValueError: none of these.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        pass
    else:
        return found if found.tzinfo else found.replace(tzinfo=zone)
    try:
        return now - timedelta(seconds=parse_duration(text))
    except BadValueError:
        message = f"{text!r} is not a point in time: write a date like 2026-01-31, or a duration like 7d"
        raise BadValueError(message) from None


def _name_of(localtime: Path) -> str:
    _, found, name = str(localtime.resolve()).partition("/zoneinfo/")
    return name if found else "local time"
