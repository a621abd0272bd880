"""Runs a batch: keeps as many lines in flight as the pace allows until all are done, or somebody says stop.

Memory is that of the lines in flight: a line that has to be sent again keeps its place until it is done, so no more are
read than the pace allows.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from costctl.batch.carrier import Carrier
from costctl.batch.pace import Limits, Pace, Sight
from costctl.batch.results import Failure, Result
from costctl.batch.usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from costctl.batch.carrier import Post
    from costctl.batch.lease import Told
    from costctl.batch.tally import Tally
    from costctl.batch.values import Job
    from costctl.ports import Clock

_SYNC_EVERY_S = 0.1
"""What was answered since the last time is computed again if this process is killed."""
_SYNC_AT_ONCE = 2000


class Book(Protocol):
    """Where results are kept: the journal."""

    @property
    def pending_count(self) -> int:
        """How many results are not yet safe."""
        ...

    def is_done(self, line: int) -> bool:
        """Return whether a line is done."""
        ...

    def record(self, line: int, custom_id: str, outcome: Result | Failure) -> None:
        """Keep a result."""
        ...

    def copy(self, line: int, custom_id: str, *, of: int) -> None:
        """Keep another line's result for this one too."""
        ...

    def sync(self) -> None:
        """Make all of it safe; blocking. Raises CostctlError."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is to be done: the wanted lines of a file, and which lines ask for the same as an earlier one."""

    jobs: Callable[[Callable[[int], bool]], Iterator[Job]]
    first_line: Callable[[int], int]
    has_repeats: bool


class Runner:
    """One run; see the module."""

    def __init__(
        self, *, work: Work, book: Book, post: Post, tally: Tally, clock: Clock, chance: Random, limits: Limits
    ) -> None:
        self._work = work
        self._book = book
        self._tally = tally
        self._clock = clock
        self._pace = Pace.first(limits)
        self._limits = limits
        self._may_send = False
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None
        self._carrier = Carrier(
            post=post, clock=clock, chance=chance, stopping=self._stopping, when_busy=self._take_it_easy
        )

    @property
    def allowed(self) -> int:
        """How many lines may be in flight."""
        return self._pace.allowed

    # --- orders --------------------------------------------------------------------------------------------------

    def heard(self, told: Told) -> None:
        """Go by what the daemon tells: when to begin, and how full the engine is."""
        self._may_send = told.state == "running"
        if told.engine == "ready":
            self._pace = self._pace.steered(self._sight(told))
        elif told.engine == "starting":
            self._pace = Pace.first(self._limits)
        self._news.set()

    def stop(self) -> None:
        """Send nothing new from now on; asked a second time, do not wait for lines in flight either."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()
        self._news.set()

    # --- a run ---------------------------------------------------------------------------------------------------

    async def run(self, *, patience_s: float) -> None:
        """Return when every line is done, or after `stop`, when lines in flight have had `patience_s` to come back.

        Raises:
            CostctlError: results cannot be kept, or the file of requests cannot be read any more.
        """
        syncing = asyncio.create_task(self._sync_regularly())
        syncing.add_done_callback(self._ended)
        try:
            await self._send_all()
            if not self._stopping.is_set():
                await self._copy_repeats()
        finally:
            await self._settle(patience_s)
            syncing.cancel()
            await asyncio.gather(syncing, return_exceptions=True)
            await asyncio.to_thread(self._book.sync)

    async def _send_all(self) -> None:
        for job in self._work.jobs(self._has_to_be_sent):
            if not await self._room():
                return
            task = asyncio.create_task(self._carry(job))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        while self._tasks and not self._stopping.is_set():
            await self._until_news()

    def _has_to_be_sent(self, line: int) -> bool:
        """Return whether a line is neither done nor will get a copy of another's result."""
        return not self._book.is_done(line) and self._work.first_line(line) == line

    async def _room(self) -> bool:
        """Wait until one more may be in flight; return False if none may be any more."""
        while not self._stopping.is_set():
            if (
                self._may_send
                and len(self._tasks) < self._pace.allowed
                and self._book.pending_count < 2 * _SYNC_AT_ONCE
            ):
                return True
            await self._until_news()
        return False

    async def _until_news(self) -> None:
        await self._news.wait()
        self._news.clear()
        if self._fault is not None:
            raise self._fault

    async def _copy_repeats(self) -> None:
        if not self._work.has_repeats:
            return
        for job in self._work.jobs(lambda line: not self._book.is_done(line)):
            self._book.copy(job.line, job.custom_id, of=self._work.first_line(job.line))
            if self._book.pending_count >= _SYNC_AT_ONCE:
                await asyncio.to_thread(self._book.sync)

    async def _carry(self, job: Job) -> None:
        outcome = await self._carrier.carry(job)
        if outcome is not None:
            self._keep(job, outcome)

    def _keep(self, job: Job, outcome: Result | Failure) -> None:
        self._book.record(job.line, job.custom_id, outcome)
        tally = self._tally
        tally.requests += 1
        tally.sent_again = self._carrier.sent_again
        if isinstance(outcome, Result) and outcome.is_success:
            usage = usage_of(outcome.body)
            tally.prompt_tokens += usage.get("input_tokens", 0)
            tally.generation_tokens += usage.get("output_tokens", 0)
        else:
            tally.failed += 1

    # --- around it -----------------------------------------------------------------------------------------------

    def _take_it_easy(self) -> None:
        self._pace = self._pace.eased(self._clock.monotonic())

    def _sight(self, told: Told) -> Sight:
        return Sight(
            at_s=self._clock.monotonic(),
            in_flight=self._carrier.in_flight,
            done=self._tally.requests,
            running=told.running,
            waiting=told.waiting,
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fault = task.exception()
        self._news.set()

    async def _sync_regularly(self) -> None:
        while True:
            await self._clock.sleep(_SYNC_EVERY_S)
            await asyncio.to_thread(self._book.sync)
            self._news.set()

    async def _settle(self, patience_s: float) -> None:
        """Let lines in flight come back, for a while; the rest is sent anew by the next run."""
        self._stopping.set()
        ends = {asyncio.ensure_future(self._clock.sleep(patience_s)), asyncio.ensure_future(self._hurry.wait())}
        while self._tasks and not any(end.done() for end in ends):
            await asyncio.wait({*ends, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
