"""What another idle window would have cost: the idle times that were seen, replayed with shorter windows.

An idle time that ended when work came would, with a shorter window, have ended at the window, and the work would have
waited for a cold start. One that ended by a stop would have ended at the shorter window, and cost nothing more. What a
longer window would have met cannot be known where the window ended the idle time: nobody saw what came after.

Machines are taken to be billed by the second at their hourly price, and only while an engine is up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import nsmallest
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from costctl.domain.instants import instant_of, length_of
from costctl.domain.money import Price, accrued_at, charged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CANDIDATES = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60))
TAILS_SHOWN = 5
_FOREVER_US = timedelta(days=36_500) // timedelta.resolution
_READING = timedelta(seconds=1)  # between a window's end and the record of it, clocks are read twice


class GapEnd(StrEnum):
    """What ended an idle time."""

    WORK = "work"
    WINDOW = "window"
    """The idle window was over, and the engine was stopped."""
    STOPPED = "stopped"
    """A person, the machine or its provider stopped it, whatever the window."""
    OPEN = "open"
    """It goes on, or the period ended before it did."""


class IdleGap(NamedTuple):
    """One idle time of a session, from its beginning as far as the period goes; a month may have tens of thousands."""

    session_id: int
    started_us: int
    """In microseconds since 1970."""
    length_us: int
    price: Price
    end: GapEnd

    @property
    def started_at(self) -> datetime:
        """When it began."""
        return instant_of(self.started_us)

    @property
    def length(self) -> timedelta:
        """How long it lasted."""
        return length_of(self.length_us)

    @property
    def cost_micros(self) -> int:
        """What it cost by the second, in the price's currency."""
        return accrued_at(self.price, (self.length_us,))[0]

    @property
    def is_tail(self) -> bool:
        """Whether nothing came of it: it ended with a stop."""
        return self.end is GapEnd.WINDOW or self.end is GapEnd.STOPPED


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """The idle times of one currency with another window."""

    window: timedelta
    idle_micros: int
    extra_starts: int
    extra_starts_micros: int
    waiting: timedelta
    """How long work would have waited for the extra starts, in all."""
    is_known: bool
    """Whether no idle time was ended by a window shorter than this one; else the true figures are higher."""

    @property
    def cost_micros(self) -> int:
        """Idle time and extra starts together."""
        return self.idle_micros + self.extra_starts_micros


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowStudy:
    """What the idle times of one currency cost, and would have cost with other windows."""

    currency: str
    gap_count: int
    idle_micros: int
    start: timedelta | None
    """How long a cold start takes; also the reference window of the ski-rental rule (see `window_studies`)."""
    replays: tuple[Replay, ...]
    """Shortest window first; none if no start was measured."""
    tails: tuple[IdleGap, ...]
    """The costliest idle times that ended with a stop, costliest first."""

    @property
    def known(self) -> tuple[Replay, ...]:
        """The replays whose figures are known."""
        return tuple(replay for replay in self.replays if replay.is_known)

    @property
    def best(self) -> Replay | None:
        """The known replay that would have saved most; None if none would, and of equals the longest window."""
        cheaper = [replay for replay in self.known if self.saved_micros(replay) > 0]
        return min(cheaper, key=lambda replay: (replay.cost_micros, -replay.window), default=None)

    def saved_micros(self, replay: Replay) -> int:
        """Return what `replay` would have saved; negative if its extra starts cost more than its idle time saves."""
        return self.idle_micros - replay.cost_micros


def window_studies(
    gaps: Iterable[IdleGap],
    *,
    start: timedelta | None,
    used: timedelta | None = None,
    most_tails: int = TAILS_SHOWN,
) -> list[WindowStudy]:
    """Return the study of each currency's gaps, in the order of the currencies.

    The reference is the ski-rental rule: stop once the idle time has cost as much as a cold start. In the worst case it
    costs twice what hindsight would, and no window set beforehand does better (Karlin, Manasse, Rudolph, Sleator:
    Competitive snoopy caching, Algorithmica 3, 1988). A start is billed at the same hourly price, so this window is as
    long as a cold start; it counts money only, not the waiting.

    Args:
        gaps: idle times at known prices.
        start: how long a cold start takes (the median of those measured); None if none was.
        used: the idle window that was set, to be replayed too.
        most_tails: how many of the costliest tails to keep.
    """
    by_currency: defaultdict[str, list[IdleGap]] = defaultdict(list)
    for gap in gaps:
        by_currency[gap.price.currency].append(gap)
    windows = sorted({*CANDIDATES, *([used] if used else [])})
    return [_study(currency, found, windows, start, most_tails) for currency, found in sorted(by_currency.items())]


class IdleTimes:
    """The idle times of one currency in the order of their lengths: no window needs another walk through them."""

    def __init__(self, gaps: Iterable[IdleGap]) -> None:
        by_price: defaultdict[int, list[IdleGap]] = defaultdict(list)
        for gap in gaps:
            by_price[gap.price.micros_per_hour].append(gap)
        self._groups = [_AtOnePrice(found) for found in by_price.values()]

    @property
    def cost_micros(self) -> int:
        """What they cost as they were."""
        return charged((group.price, group.total) for group in self._groups)

    def replay(self, window: timedelta, start: timedelta) -> Replay:
        """Return what they would have been with `window`, where a cold start takes `start`."""
        restarts = [(group.price, group.restarts(window)) for group in self._groups]
        extra_starts = sum(count for _, count in restarts)
        return Replay(
            window=window,
            idle_micros=charged((group.price, group.within(window)) for group in self._groups),
            extra_starts=extra_starts,
            extra_starts_micros=charged((price, count * start) for price, count in restarts),
            waiting=extra_starts * start,
            is_known=all(group.shortest_window + _READING >= window for group in self._groups),
        )


class _AtOnePrice:
    """Idle times at one price."""

    def __init__(self, gaps: Sequence[IdleGap]) -> None:
        self.price = gaps[0].price
        self.shortest_window = length_of(
            min((gap.length_us for gap in gaps if gap.end is GapEnd.WINDOW), default=_FOREVER_US)
        )
        self._lengths = sorted([gap.length_us for gap in gaps])
        self._sums = list(accumulate(self._lengths, initial=0))
        self._until_work = sorted([gap.length_us for gap in gaps if gap.end is GapEnd.WORK])

    @property
    def total(self) -> timedelta:
        return length_of(self._sums[-1])

    def within(self, window: timedelta) -> timedelta:
        """Return how long they would have been together, had each ended with `window` at the latest."""
        whole = bisect_right(self._lengths, window // timedelta.resolution)
        return length_of(self._sums[whole]) + (len(self._lengths) - whole) * window

    def restarts(self, window: timedelta) -> int:
        """Return how many would have been over when work came."""
        return len(self._until_work) - bisect_right(self._until_work, window // timedelta.resolution)


def _study(
    currency: str, gaps: Sequence[IdleGap], windows: Iterable[timedelta], start: timedelta | None, most_tails: int
) -> WindowStudy:
    times = IdleTimes(gaps)
    return WindowStudy(
        currency=currency,
        gap_count=len(gaps),
        idle_micros=times.cost_micros,
        start=start,
        replays=tuple(times.replay(window, start) for window in windows) if start is not None else (),
        tails=tuple(_costliest([gap for gap in gaps if gap.is_tail], most_tails)),
    )


def _costliest(tails: Iterable[IdleGap], most: int) -> list[IdleGap]:
    return nsmallest(most, tails, key=lambda gap: (-gap.cost_micros, gap.started_us))
