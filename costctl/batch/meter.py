"""How fast a batch goes, and when it will be through."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from costctl.batch.tally import Tally

_WINDOW_S = 60.0


class _Reading(NamedTuple):
    at_s: float
    requests: int
    tokens: int


class Rate(NamedTuple):
    """Lines and tokens a second of the last minute; 0 before anything was answered."""

    lines: float
    tokens: float

    def eta_s(self, left: int) -> float | None:
        """Return how long the `left` lines will take, None if nothing is known yet."""
        return left / self.lines if self.lines else None


class Meter:
    """Reads a tally now and then."""

    def __init__(self, tally: Tally, now_s: Callable[[], float]) -> None:
        self._tally = tally
        self._now_s = now_s
        self._readings: deque[_Reading] = deque()

    def read(self) -> Rate:
        """Return the rates as of now."""
        tally = self._tally
        now = _Reading(self._now_s(), tally.requests, tally.prompt_tokens + tally.generation_tokens)
        # Time in which nothing was answered yet, as while the engine starts, tells nothing of its speed.
        if self._readings and self._readings[-1].requests == now.requests == 0:
            self._readings.clear()
        self._readings.append(now)
        while self._readings[0].at_s < now.at_s - _WINDOW_S:
            self._readings.popleft()
        first = self._readings[0]
        lasted_s = now.at_s - first.at_s
        if not lasted_s:
            return Rate(0.0, 0.0)
        return Rate((now.requests - first.requests) / lasted_s, (now.tokens - first.tokens) / lasted_s)
