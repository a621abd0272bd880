"""What another idle window would have cost: the idle times that were seen, replayed with shorter windows.

An idle time that ended when work came would, with a shorter window, have ended at the window, and the work would have
waited for a cold start. One that ended by a stop would have ended at the shorter window, and cost nothing more. What a
longer window would have met cannot be known where the window ended the idle time: nobody saw what came after.

Machines are taken to be billed by the second at their hourly price, and only while an engine is up.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from costctl.domain.money import accrued, charged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from costctl.domain.money import Price

CANDIDATES = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60))
TAILS_SHOWN = 5
_NOTHING = timedelta(0)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class IdleGap:
    """One idle time of a session, from its beginning as far as the period goes."""

    session_id: int
    started_at: datetime
    length: timedelta
    price: Price
    end: GapEnd

    def __post_init__(self) -> None:
        if self.length <= _NOTHING:
            raise ValueError("an idle time lasts")

    @property
    def cost_micros(self) -> int:
        """What it cost by the second, in the price's currency."""
        return accrued(self.price, self.length)

    @property
    def is_tail(self) -> bool:
        """Whether nothing came of it: it ended with a stop."""
        return self.end in {GapEnd.WINDOW, GapEnd.STOPPED}


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
    by_currency = defaultdict(list)
    for gap in gaps:
        by_currency[gap.price.currency].append(gap)
    windows = sorted({*CANDIDATES, *([used] if used else [])})
    return [
        WindowStudy(
            currency=currency,
            gap_count=len(found),
            idle_micros=_cost((gap, gap.length) for gap in found),
            start=start,
            replays=tuple(replay(found, window, start) for window in windows) if start is not None else (),
            tails=tuple(_costliest([gap for gap in found if gap.is_tail], most_tails)),
        )
        for currency, found in sorted(by_currency.items())
    ]


def replay(gaps: Sequence[IdleGap], window: timedelta, start: timedelta) -> Replay:
    """Return what `gaps` of one currency would have been with `window`, where a cold start takes `start`."""
    restarted = [gap for gap in gaps if gap.end is GapEnd.WORK and gap.length > window]
    return Replay(
        window=window,
        idle_micros=_cost((gap, min(gap.length, window)) for gap in gaps),
        extra_starts=len(restarted),
        extra_starts_micros=_cost((gap, start) for gap in restarted),
        waiting=len(restarted) * start,
        is_known=all(gap.length + _READING >= window for gap in gaps if gap.end is GapEnd.WINDOW),
    )


def _cost(stretches: Iterable[tuple[IdleGap, timedelta]]) -> int:
    return charged((gap.price, length) for gap, length in stretches)


def _costliest(tails: Iterable[IdleGap], most: int) -> list[IdleGap]:
    return sorted(tails, key=lambda gap: (-gap.cost_micros, gap.started_at))[:most]
