"""Time that passes only when a test says so."""

import asyncio
import heapq
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


class FakeClock:
    """A clock (port Clock) that a test advances; sleepers wake in the order of their times."""

    def __init__(self, *, start=START, monotonic_s=1000.0):
        self._wall = start
        self._monotonic_s = monotonic_s
        self._suspended_s = 0.0
        self._sleepers = []
        self._order = count()

    def now(self):
        return self._wall

    def monotonic(self):
        return self._monotonic_s

    def suspended_s(self):
        return self._suspended_s

    def suspend(self, seconds):
        """Let the machine sleep: the wall clock goes on, the monotonic one does not."""
        self._suspended_s += seconds
        self.step_wall_clock(seconds)

    async def sleep(self, seconds):
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waking = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic_s + seconds, next(self._order), waking))
        await waking

    def step_wall_clock(self, seconds):
        """Set the wall clock forth or back, as NTP or a person does."""
        self._wall += timedelta(seconds=seconds)

    async def advance(self, seconds):
        """Let time pass, waking all who sleep until then, each at its own moment."""
        until = self._monotonic_s + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            at, _, waking = heapq.heappop(self._sleepers)
            if not waking.done():
                self._pass_to(at)
                waking.set_result(None)
                await settle()
        self._pass_to(until)

    def _pass_to(self, at):
        self._wall += timedelta(seconds=at - self._monotonic_s)
        self._monotonic_s = at


class TickingClock(FakeClock):
    """A clock that is a little later every time one looks, as real ones are."""

    def monotonic(self):
        self._monotonic_s += 1e-6
        return self._monotonic_s


async def settle(*, most_rounds=10_000):
    """Let everything on the event loop run that can run without time passing."""
    ready = asyncio.get_running_loop()._ready
    for _ in range(most_rounds):
        await asyncio.sleep(0)
        if not ready:
            return
    raise AssertionError("something on the event loop never comes to rest")


class InlineThreads(ThreadPoolExecutor):
    """An executor that runs its work at once, so that `asyncio.to_thread` takes no time that a test cannot see."""

    def submit(self, work, /, *args, **kwargs):
        done = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits it
            done.set_exception(error)
        return done
