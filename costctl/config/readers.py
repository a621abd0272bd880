"""How the value of a setting is read, given as text or by TOML. Every reader raises BadValueError for nonsense."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from costctl.config.home import expand_user
from costctl.config.zones import named_zone
from costctl.domain.durations import parse_duration, parse_window
from costctl.domain.offers import Market
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from zoneinfo import ZoneInfo

GPUS = ("auto", "nvml", "sim", "none")
MARKETS = tuple(market.value for market in Market)
_SIZE = re.compile(r"(\d{1,15})\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_INTEGER = re.compile(r"[0-9]{1,15}")
_SIZE_UNITS = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def as_text(value: Any) -> str:
    """Return a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise BadValueError(f"{value!r} is not a text")
    return value.strip()


def as_optional_text(value: Any) -> str | None:
    """Return a text, or None if nothing was given."""
    return None if value is None else as_text(value)


def as_path(value: Any) -> Path | None:
    """Return a path, or None if nothing was given."""
    return None if value is None else expand_user(as_text(value))


def one_of(*choices: str) -> Callable[[Any], str]:
    """Return a reader of one of `choices`."""

    def read(value: Any) -> str:
        if value in choices:
            return str(value)
        raise BadValueError(f"{value!r} is none of {', '.join(choices)}")

    return read


def integer(low: int, high: int) -> Callable[[Any], int]:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(value: Any) -> int:
        text = str(value)
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise BadValueError(f"{value!r} is not a whole number from {low} to {high}")
        return int(text)

    return read


def as_switch(value: Any) -> bool:
    """Return true or false."""
    if isinstance(value, bool):
        return value
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.strip().lower() in known:
        return known[value.strip().lower()]
    raise BadValueError(f"{value!r} is neither true nor false")


def as_words(value: Any) -> tuple[str, ...]:
    """Return the words of a command line, or of a list."""
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise BadValueError(f"{value!r} cannot be split into words: {error}") from None
    if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise BadValueError(f"{value!r} is neither a text nor a list of texts")


def as_keys(value: Any) -> tuple[str, ...]:
    """Return keys, separated by commas or white space."""
    words = value.replace(",", " ").split() if isinstance(value, str) else as_words(value)
    return tuple(words)


def as_size(value: Any) -> int:
    """Return a size in bytes."""
    match = _SIZE.fullmatch(str(value).strip())
    if match is None or not int(match[1]):
        raise BadValueError(f"{value!r} is not a size: write it like 512KiB, 32MiB or 1GiB")
    return int(match[1]) * _SIZE_UNITS[(match[2] or "B").lower()]


def as_duration(value: Any) -> float:
    """Return a duration in seconds."""
    return parse_duration(str(value))


def as_window(value: Any) -> float | None:
    """Return an idle window in seconds, None for `off`."""
    return parse_window("off" if value is False else str(value))


def as_gpu(value: Any) -> str:
    """Return how GPUs are watched."""
    text = as_text(value)
    if text in GPUS or text.startswith("sim:"):
        return text
    raise BadValueError(f"{value!r} is none of {', '.join(GPUS)} (or sim:NAME)")


def as_on_idle(value: Any) -> str:
    """Return what happens at the end of the idle window."""
    text = as_text(value)
    command = as_words(text.removeprefix("command:")) if text.startswith("command:") else ()
    if text in {"exit", "unload", "poweroff"} or any(command[:1]):
        return text
    raise BadValueError(f"{value!r} is none of exit, unload, poweroff, or 'command: PROGRAM ARGS'")


def as_market(value: Any) -> str | None:
    """Return a market, or None if nothing was given."""
    return None if value is None else one_of(*MARKETS)(value)


def as_zone(value: Any) -> ZoneInfo | None:
    """Return a time zone, or None if nothing was given."""
    return None if value is None else named_zone(as_text(value))


def as_health_path(value: Any) -> str:
    """Return a path of a URL."""
    text = as_text(value)
    if not text.startswith("/"):
        raise BadValueError(f"{value!r} is not a path: begin it with '/'")
    return text


def as_given(value: Any) -> object:
    """Return the value as it was given: it is read elsewhere."""
    return value
