"""Durations as people write them: `90s`, `30m`, `2h`, `1h30m`, `off`."""

from __future__ import annotations

import re

from costctl.errors import BadValueError

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_PATTERN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_LONGEST = 366 * 86_400.0


def parse_duration(text: str) -> float:
    """Return the seconds that `text` stands for.

    Raises:
        BadValueError: not a duration, zero, or longer than a year.
    """
    match = _PATTERN.fullmatch(text.strip().lower())
    if match is None or not match.group():
        raise BadValueError(f"{text!r} is not a duration: write it like 90s, 30m, 2h or 1h30m")
    seconds = sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS.values(), strict=True) if part)
    if not 0 < seconds <= _LONGEST:
        raise BadValueError(f"{text!r} is out of range: a duration is more than 0 and at most 366d")
    return seconds


def parse_window(text: str) -> float | None:
    """Return the seconds of an idle window, or None for `off`.

    Raises:
        BadValueError: neither a duration nor `off`.
    """
    if text.strip().lower() == "off":
        return None
    try:
        return parse_duration(text)
    except BadValueError as error:
        raise BadValueError(f"{error} (or 'off')") from None


def format_duration(seconds: float) -> str:
    """Return `seconds` in the form that `parse_duration` reads, to two units: `1h30m`, `45s`, `0.5s`."""
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    tenths = round(seconds, 1)
    if tenths < 10 and tenths != int(tenths):  # noqa: PLR2004 - below ten seconds tenths matter
        return f"{tenths}s"
    rest = round(seconds)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, int(size))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"
