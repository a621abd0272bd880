"""Which answers are results, which mean "again", when, and in what company."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from costctl.batch.results import Result

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_LONGEST_ASKED_S = 60.0
_BUSY = frozenset((HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE))
_MOST_ATTEMPTS = {
    HTTPStatus.INTERNAL_SERVER_ERROR: 3,  # a request that the engine cannot bear fails each time
    HTTPStatus.REQUEST_TIMEOUT: 8,
    HTTPStatus.GATEWAY_TIMEOUT: 8,
}
MOST_BREAKS = 8
"""So often may the engine break while it is at work on a line, which may be what breaks it."""
_FEW = 8
"""So many lines that were twice there when the engine broke are in flight together."""
_FEW_AFTER_BREAKS, _ALONE_AFTER_BREAKS = 2, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Tries:
    """How often a line was sent in vain: `failed` and `broken` may be its own fault, `refused` is not."""

    failed: int = 0
    """An error was the answer."""
    broken: int = 0
    """The engine or the connection broke."""
    refused: int = 0
    """Nobody was there to take it."""
    asked_s: float = 0.0
    """How long the server asked to wait the last time."""

    def pause_s(self, chance: Random) -> float:
        """Return how long to wait before the next time, which is never the same for two lines.

        It grows with what nobody has explained. A server that says when to come again is taken at its word, and an
        engine that broke is started anew for the first who comes: lines that sleep then leave it idle, and billed.
        """
        unexplained = 0 if self.asked_s else self.failed + self.refused
        most_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** max(0, unexplained - 1))
        return min(self.asked_s, _LONGEST_ASKED_S) + chance.uniform(0.1, 1.0) * most_s


def is_busy(result: Result) -> bool:
    """Return whether the server takes nothing at the moment, which is no line's fault."""
    return result.status_code in _BUSY


def has_broken(result: Result) -> bool:
    """Return whether the engine broke before it had answered: what the front door then says."""
    return result.status_code == HTTPStatus.BAD_GATEWAY


def may_pass(result: Result, tries: Tries) -> bool:
    """Return whether the same line may get another answer next time, after `tries` with this one."""
    most = next((most for status, most in _MOST_ATTEMPTS.items() if status == result.status_code), 0)
    return tries.failed < most


def most_together(tries: Tries) -> int | None:
    """Return how many lines with such a past may be in flight at once, None for any number.

    One line that the engine cannot bear takes all with it that are in flight. In ever smaller company the others get
    through, and only the one that breaks the engine alone uses up its breaks.
    """
    if tries.broken >= _ALONE_AFTER_BREAKS:
        return 1
    return _FEW if tries.broken >= _FEW_AFTER_BREAKS else None
