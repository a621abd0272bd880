"""Conducts a run of a batch: holds the lease, passes on what the daemon tells, and gives up where that is wiser."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from costctl.batch.lease import Told
from costctl.batch.sender import AwayError
from costctl.domain.batches import Progress, Then
from costctl.domain.durations import format_duration
from costctl.waiting import done_within, set_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from costctl.batch.lease import LeaseClient
    from costctl.batch.runner import Runner
    from costctl.batch.tally import Tally
    from costctl.domain.batches import Wish
    from costctl.ports import Clock

FUTILE_AFTER_FAILED_STARTS, FUTILE_AFTER_FAILURES = 3, 8
"""So many engines in a row may not start, or may break, without a line being answered. Those that start are given more
chances: until it is known which line breaks them."""
_CALL_AGAIN_S = 1.0
_LAST_ANSWER_S = 30.0
_LEASE_WITHIN_S = 10.0


class How(StrEnum):
    """How a run ended."""

    THROUGH = "through"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    NO_ENGINE = "no engine"
    AWAY = "no daemon"
    BROKEN = "broken off"
    """Results cannot be kept, or the daemon does not take the batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How a run ended, and why if it was before its time; `log` holds an engine's last lines."""

    how: How
    why: str = ""
    log: tuple[str, ...] = ()


class Conduct:
    """One run under one lease, or one after the other if the daemon is restarted."""

    def __init__(
        self,
        *,
        open_lease: Callable[[Wish], LeaseClient],
        wish: Wish,
        runner: Runner,
        tally: Tally,
        clock: Clock,
        away_patience_s: float,
        show: Callable[[Told], None],
    ) -> None:
        self._open_lease = open_lease
        self._wish = wish
        self._runner = runner
        self._tally = tally
        self._clock = clock
        self._away_patience_s = away_patience_s
        self._show = show
        self._lease: LeaseClient | None = None
        self._leased = asyncio.Event()
        self._base = Progress()
        self._end: End | None = None
        self._forgiven: int | None = None
        self._answered = 0
        self._holding: asyncio.Task[None] | None = None
        self._paid: Counter[str] = Counter()
        self._paying: Told | None = None
        self.last_words = ""

    @property
    def spent(self) -> dict[str, int]:
        """What the machine has cost while this run held it, in micro-units of each currency; empty if unknown."""
        paid = Counter(self._paid)
        if self._paying is not None and self._paying.currency and self._paying.cost_micros is not None:
            paid[self._paying.currency] += self._paying.cost_micros
        return dict(paid)

    @property
    def is_interrupted(self) -> bool:
        """Whether somebody has asked for the end."""
        return self._end is not None and self._end.how is How.INTERRUPTED

    def interrupt(self) -> None:
        """Stop because a person or the system wants it; the second time at once."""
        self._give_up(End(how=How.INTERRUPTED))
        self._show(Told(state="stopping"))

    async def run(self, *, patience_s: float) -> End:
        """Run until all lines are done or there is no sense in going on, and return how it ended.

        Raises:
            CostctlError: the daemon refuses the batch, or results cannot be kept.
        """
        self._holding = asyncio.create_task(self._hold())
        self._holding.add_done_callback(self._stopped_holding)
        await self._runner.run(patience_s=patience_s)
        if self._holding.done():
            self._holding.result()  # no lease, no batch: what ended it is told
        return self._end or End(how=How.THROUGH)

    async def close(self, *, complete: bool, then: bool) -> None:
        """Let go of the lease, and have done what was wished for after the batch if `then`."""
        if self._holding is None:
            return
        wanted = then and self._wish.then is not Then.NOTHING
        if wanted and not self._holding.done():  # also if nothing was left to do, so that there is no lease yet
            await set_within(self._clock, self._leased, _LEASE_WITHIN_S)
        self._end = self._end or End(how=How.THROUGH)
        if self._lease is not None:
            self._lease.through(self._tally.progress.since(self._base), complete=complete, then=then)
            await done_within(self._clock, self._holding, _LAST_ANSWER_S)
        elif wanted:
            self.last_words = f"the daemon is away, so --then {self._wish.then} was not done"
        self._holding.cancel()
        await asyncio.gather(self._holding, return_exceptions=True)

    async def _hold(self) -> None:
        """Hold a lease, and ask for another when the daemon has gone and come back."""
        away_since = self._clock.monotonic()
        while not self._is_over():
            try:
                if await self._hold_one():
                    away_since = self._clock.monotonic()
                why = "it ended the connection"
            except AwayError as error:
                why = str(error)
            if self._is_over():
                return
            if self._clock.monotonic() - away_since >= self._away_patience_s:
                away = format_duration(self._away_patience_s)
                self._give_up(End(how=How.AWAY, why=f"the daemon has been away for {away} ({why})"))
            await self._clock.sleep(_CALL_AGAIN_S)

    async def _hold_one(self) -> bool:
        """Hold one lease to its end; return whether there was one."""
        self._base = self._tally.progress
        lines = max(0, self._wish.lines - self._base.requests)
        lease = self._open_lease(replace(self._wish, lines=lines))
        held = False
        try:
            async for told in lease.told():
                held, self._lease = True, lease
                self._leased.set()
                self._take(told)
                if told.state == "running" and self._end is None:
                    lease.report(self._tally.progress.since(self._base))
        finally:
            self._lease = None
            self._leased.clear()
            lease.close()
            self._paid, self._paying = Counter(self.spent), None
        return held

    def _take(self, told: Told) -> None:
        if told.state == "ended":
            self.last_words = told.reason
            return
        self._runner.heard(told)
        if told.state == "running":
            self._paying = told
            self._look_at_engine(told)
        elif told.state == "cancelled":
            self._give_up(End(how=How.CANCELLED, why=told.reason))
        if not self._is_over() or told.state == "cancelled":
            self._show(told)

    def _look_at_engine(self, told: Told) -> None:
        """Give up an engine that failed again and again since the last line was answered."""
        if self._forgiven is None or self._tally.requests > self._answered or told.failures < self._forgiven:
            self._forgiven, self._answered = told.failures, self._tally.requests
        failures = told.failures - self._forgiven
        failed_starts = min(told.failed_starts, failures)
        if told.engine == "stuck":
            self._give_up(End(how=How.NO_ENGINE, why="the last engine would not end: see `costctl status`"))
        elif failed_starts >= FUTILE_AFTER_FAILED_STARTS or failures >= FUTILE_AFTER_FAILURES:
            self._give_up(End(how=How.NO_ENGINE, why=told.failure or "the engine does not start", log=told.log))

    def _stopped_holding(self, holding: asyncio.Task[None]) -> None:
        if not holding.cancelled() and holding.exception() is not None:
            self._runner.stop()

    def _is_over(self) -> bool:
        return self._end is not None

    def _give_up(self, end: End) -> None:
        self._end = self._end or end
        self._runner.stop()
