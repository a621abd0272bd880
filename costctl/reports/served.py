"""What an engine served, read from the command that started it."""

from __future__ import annotations

from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Served(NamedTuple):
    """A model under the name that it was asked by, with the longest request that its engine took (None: by itself)."""

    name: str
    model: str
    context: int | None


@lru_cache(maxsize=1024)  # most runs are alike
def served_by(name: str, command: tuple[str, ...]) -> Served:
    """Return what the engine served that was started by `command` to answer as `name`."""
    model = _after(command, "serve") or _after(command, "--model") or name
    return Served(name=name, model=model, context=_context(command))


def _context(command: Sequence[str]) -> int | None:
    """Return the engine's `--max-model-len`; None if it chose by itself (or was told 8k, which vLLM takes too)."""
    text = _after(command, "--max-model-len") or ""
    return int(text) if text.isascii() and text.isdigit() and int(text) else None


def _after(command: Sequence[str], flag: str) -> str | None:
    """Return the word after `flag`, or joined to it by =; None if there is none."""
    for word, following in zip_longest(command, command[1:], fillvalue=""):
        if word == flag and not following.startswith("-"):
            return following or None
        if word.startswith(f"{flag}="):
            return word.partition("=")[2] or None
    return None
