"""Signals: heard at once, or not, as was ordered."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TypeVar

from costctl.adapters.engines.sim.failures import Failures, Kind

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import Any

T = TypeVar("T")


class Stop:
    """SIGTERM or SIGINT has asked for the end."""

    def __init__(self, failures: Failures) -> None:
        self._asked = asyncio.Event()
        self._deaf = Kind.IGNORE_SIGTERM in failures
        self._swallows = Kind.SWALLOW_SIGTERM in failures

    @classmethod
    @contextmanager
    def listening(cls, failures: Failures) -> Iterator[Self]:
        """Listen for signals; afterwards ignore them, so that a second one does not spoil a clean end."""
        loop = asyncio.get_running_loop()
        stop = cls(failures)
        loop.add_signal_handler(signal.SIGTERM, stop.hear_sigterm)
        loop.add_signal_handler(signal.SIGINT, stop.hear_sigint)
        try:
            yield stop
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)

    async def unless_asked(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of `work`, or None if a signal came first; then `work` is cancelled."""
        task, asked = asyncio.create_task(work), asyncio.create_task(self._asked.wait())
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        self._swallows = False  # vLLM loses signals during the start only
        return None if task.cancelled() else task.result()

    def hear_sigint(self) -> None:
        """End."""
        self._asked.set()

    def hear_sigterm(self) -> None:
        """End, unless this one is to be lost."""
        if self._swallows:
            self._swallows = False
        elif not self._deaf:
            self._asked.set()
