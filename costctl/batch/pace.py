"""How many lines may be in flight: enough for the engine never to run out of work, hardly more.

An engine that has requests waiting is full, and one whose queue is short keeps nobody else waiting for long. So the
pace is steered by the engine's own counters: while hardly anything waits it grows, first by doubling; when much waits
for some time it shrinks. What fills an engine, slots or memory, does not matter then: both show as waiting requests.
Without counters it grows as long as more is answered for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

SHORT_QUEUE, GOOD_QUEUE, LONG_QUEUE = 0.1, 0.3, 0.5
"""Waiting requests as shares of the running ones: below the first the pace grows, above the last it shrinks."""
_USED = 0.9
"""The share of the pace that has to be used before there is any sense in more: some lines wait to be sent again."""
_SEEN = 0.7
"""The share of the lines in flight that the engine has to know of; else something before it is what is slow."""
_LONG_FOR_SIGHTS = 5
"""A queue has to be long for so many sights: while prompts are read in, most requests wait for a moment."""
_TRIAL_S = 5.0
_TRIAL_GROWTH, _WORTH_IT = 1.5, 1.05
_EASE_AGAIN_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Between what the pace stays, and where it begins."""

    least: int = 1
    first: int = 64
    """More is no faster, as an H100 showed with 512: what begins together ends together, and leaves gaps."""
    most: int = 2048

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.first <= self.most:
            raise ValueError(f"these limits contradict each other: {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """What is seen at a moment: lines in flight and answered so far, and the engine's counters if it has any."""

    at_s: float
    in_flight: int
    done: int
    running: int | None = None
    waiting: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Trial:
    """A stretch with the same pace, to see how much is answered with it; `rate` is that of the one before."""

    began_s: float
    done: int
    rate: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How many lines may be in flight now, and what has to be remembered to steer it."""

    allowed: int
    limits: Limits
    is_doubling: bool = True
    long_waits: tuple[int, ...] = ()
    trial: _Trial | None = None
    eased_s: float = float("-inf")

    @classmethod
    def first(cls, limits: Limits) -> Pace:
        """Return the pace for an engine of which nothing is known."""
        return cls(allowed=limits.first, limits=limits)

    def steered(self, sight: Sight) -> Pace:
        """Return the pace after a look at the engine."""
        if sight.running is None or sight.waiting is None:
            return self._by_throughput(sight)
        if sight.running == 0:
            return self  # it has only just begun
        return self._by_queue(sight.in_flight, sight.running, sight.waiting)

    def eased(self, at_s: float) -> Pace:
        """Return the pace after the engine said that it has enough; a burst of such answers counts once."""
        if at_s - self.eased_s < _EASE_AGAIN_S:
            return self
        return replace(_paced(self, self.allowed // 2), is_doubling=False, eased_s=at_s, trial=None)

    def _by_queue(self, in_flight: int, running: int, waiting: int) -> Pace:
        if waiting > LONG_QUEUE * running:
            return self._with_long_queue(in_flight, running, waiting)
        calm = replace(self, long_waits=())
        if waiting > SHORT_QUEUE * running:
            return replace(calm, is_doubling=False)
        if in_flight < _USED * self.allowed or running + waiting < _SEEN * in_flight:
            return calm  # not the pace is what keeps the queue short
        return _paced(calm, 2 * self.allowed if self.is_doubling else self.allowed + max(1, running // 4))

    def _with_long_queue(self, in_flight: int, running: int, waiting: int) -> Pace:
        waits = (*self.long_waits, waiting)
        if len(waits) < _LONG_FOR_SIGHTS:
            return replace(self, long_waits=waits)
        surplus = min(waits) - round(GOOD_QUEUE * running)
        return replace(_paced(self, min(self.allowed, in_flight - surplus)), is_doubling=False, long_waits=())

    def _by_throughput(self, sight: Sight) -> Pace:
        trial = self.trial or _Trial(began_s=sight.at_s, done=sight.done)
        lasted_s, answered = sight.at_s - trial.began_s, sight.done - trial.done
        if lasted_s < _TRIAL_S or answered < self.allowed or not self.is_doubling:
            return replace(self, trial=trial)
        rate = answered / lasted_s
        if rate < _WORTH_IT * trial.rate:
            return replace(_paced(self, round(self.allowed / _TRIAL_GROWTH)), is_doubling=False, trial=None)
        grown = _paced(self, round(self.allowed * _TRIAL_GROWTH))
        return replace(grown, trial=_Trial(began_s=sight.at_s, done=sight.done, rate=rate))


def _paced(pace: Pace, allowed: int) -> Pace:
    return replace(pace, allowed=max(pace.limits.least, min(pace.limits.most, allowed)))
