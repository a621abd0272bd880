"""A store of answers that may fail or be slow without anybody waiting for it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from costctl.errors import AnswerStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from costctl.ports import AnswerStore, Clock

    Result = TypeVar("Result")

logger = logging.getLogger(__name__)

PATIENCE_S = 0.25
"""How long a request waits for the store before it goes to the engine."""
_TURN_S = 2.0
"""How long it waits to be one of those that ask, which is no fault of the store."""
_AT_ONCE = 8
_REST_S = 10.0


class _Way:
    """One way of using a store. After trouble, said once, it is closed for a while."""

    def __init__(self, clock: Clock, consequence: str) -> None:
        self._clock = clock
        self._consequence = consequence
        self._rests_until = float("-inf")
        self.problem: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the store may be used this way now."""
        return self._clock.monotonic() >= self._rests_until

    def failed(self, why: str) -> None:
        """Close it for a while."""
        self._rests_until = max(self._rests_until, self._clock.monotonic() + _REST_S)
        if self.problem is None:
            logger.warning("trouble with the answer cache, %s: %s", self._consequence, why)
        self.problem = f"{self._consequence}: {why}"

    def worked(self) -> None:
        """Take back what was said of trouble."""
        if self.problem is not None and self.is_open:  # else it is one that was under way before the trouble
            logger.info("the trouble with the answer cache is over")
            self.problem = None

    def open(self) -> None:
        """Open it at once."""
        self._rests_until = float("-inf")

    def close(self) -> None:
        """Close it for ever."""
        self._rests_until = float("inf")


class GuardedStore:
    """Makes a store's blocking calls in threads. Where a disk is full, what it holds can still be found."""

    def __init__(self, store: AnswerStore, *, clock: Clock, patience_s: float) -> None:
        self._store = store
        self._patience_s = patience_s
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._askers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="answers")
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="answers-kept")
        self._behind: set[asyncio.Future[bool]] = set()
        self._asking = _Way(clock, "requests go to the engine")
        self._keeping = _Way(clock, "new answers are not kept")

    @property
    def name(self) -> str:
        """What people call it."""
        return self._store.name

    @property
    def problem(self) -> str | None:
        """What is wrong with it now, and what follows from that; None if it can be used."""
        return self._asking.problem or self._keeping.problem

    @property
    def may_keep(self) -> bool:
        """Whether it may be given something now."""
        return self._asking.is_open and self._keeping.is_open

    async def ask(self, call: Callable[[AnswerStore], Result | None]) -> Result | None:
        """Return what `call` finds in the store; None if it is in trouble, or does not find it in time."""
        try:
            async with asyncio.timeout(_TURN_S):
                await self._turns.acquire()
        except TimeoutError:
            return None
        try:
            return await self._ask(call) if self._asking.is_open else None
        finally:
            self._turns.release()

    async def _ask(self, call: Callable[[AnswerStore], Result | None]) -> Result | None:
        asked = asyncio.get_running_loop().run_in_executor(self._askers, call, self._store)
        try:
            # Unlike asyncio.timeout this sees what has come while the event loop was busy.
            if not (await asyncio.wait({asked}, timeout=self._patience_s))[0]:
                self._asking.failed(f"{self.name}: no answer within {self._patience_s:g} s")
                return None
            found = asked.result()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a store, the engine is there
            self._asking.failed(_in_words(error))
            return None
        finally:
            asked.cancel()
        self._asking.worked()
        return found

    def insist(self, call: Callable[[AnswerStore], Result]) -> asyncio.Future[Result]:
        """Return what `call` finds, however long that takes. Raises AnswerStoreError."""
        return asyncio.get_running_loop().run_in_executor(self._keeper, call, self._store)

    def try_again(self) -> None:
        """Leave it alone no longer: somebody has mended it."""
        self._asking.open()
        self._keeping.open()

    def behind(self, keep: Callable[[AnswerStore], bool], then: Callable[[bool], None]) -> None:
        """Keep something, for which nobody waits; then tell whether it was kept."""

        def over(done: asyncio.Future[bool]) -> None:
            self._behind.discard(done)
            then(not done.cancelled() and self._settle(done))

        future = self.insist(keep)
        self._behind.add(future)
        future.add_done_callback(over)

    async def close(self) -> None:
        """Let calls under way end, within reason, and let go of the store."""
        self._asking.close()
        if self._behind:
            await asyncio.wait(self._behind, timeout=self._patience_s)
        for threads in self._askers, self._keeper:
            threads.shutdown(wait=False, cancel_futures=True)
        with suppress(AnswerStoreError):
            self._store.close()

    def _settle(self, done: asyncio.Future[bool]) -> bool:
        error = done.exception()
        if error is not None:
            self._keeping.failed(_in_words(error))
            return False
        if done.result():
            self._keeping.worked()
        return done.result()


def _in_words(error: BaseException) -> str:
    return str(error) if isinstance(error, AnswerStoreError) else f"a fault of costctl's own, {type(error).__name__}"
