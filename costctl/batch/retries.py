"""Which answers are results, which mean "again", and when."""

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
    HTTPStatus.BAD_GATEWAY: 8,
    HTTPStatus.GATEWAY_TIMEOUT: 8,
}
MOST_BREAKS = 8
"""So often may the connection or the engine break while it answers a line, which may be what breaks it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tries:
    """How often a line was sent in vain: `failed` may be its own fault, `refused` is not."""

    failed: int = 0
    refused: int = 0
    asked_s: float = 0.0
    """How long the server asked to wait the last time."""

    def pause_s(self, chance: Random) -> float:
        """Return how long to wait before the next time: longer each time, and never the same for two lines."""
        most_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (self.failed + self.refused - 1))
        return min(self.asked_s, _LONGEST_ASKED_S) + chance.uniform(0.1, 1.0) * most_s


def is_busy(result: Result) -> bool:
    """Return whether the server takes nothing at the moment, which is no line's fault."""
    return result.status_code in _BUSY


def may_pass(result: Result, tries: Tries) -> bool:
    """Return whether the same line may get another answer next time, after `tries` with this one."""
    most = next((most for status, most in _MOST_ATTEMPTS.items() if status == result.status_code), 0)
    return tries.failed < most
