"""A store of answers that may fail or be slow without anybody waiting for it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from costctl.errors import AnswerStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from costctl.ports import AnswerStore, Clock

    Result = TypeVar("Result")

logger = logging.getLogger(__name__)

PATIENCE_S = 0.25
"""How long a request waits for the store before it goes to the engine."""
_REST_S = 10.0
_THREADS = 8


class GuardedStore:
    """Makes a store's blocking calls in threads. After trouble, said once, it is left alone for a while."""

    def __init__(self, store: AnswerStore, *, clock: Clock, patience_s: float) -> None:
        self._store = store
        self._clock = clock
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="answers")
        self._behind: set[asyncio.Future[Any]] = set()
        self._rests_until = float("-inf")
        self.problem: str | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self._store.name

    @property
    def rests(self) -> bool:
        """Whether it is not to be asked now."""
        return self._clock.monotonic() < self._rests_until

    async def ask(self, call: Callable[[AnswerStore], Result | None]) -> Result | None:
        """Return what `call` finds in the store; None if it is in trouble, or does not find it in time."""
        if self.rests:
            return None
        try:
            async with asyncio.timeout(self._patience_s):
                found = await self.insist(call)
        except TimeoutError:
            self._rest(f"{self.name}: no answer within {self._patience_s:g} s")
            return None
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a store, the engine is there
            self._rest(_in_words(error))
            return None
        self._works()
        return found

    def insist(self, call: Callable[[AnswerStore], Result]) -> asyncio.Future[Result]:
        """Return what `call` finds, however long that takes. Raises AnswerStoreError."""
        return asyncio.get_running_loop().run_in_executor(self._threads, call, self._store)

    def behind(self, call: Callable[[AnswerStore], Result], then: Callable[[Result | None], None]) -> None:
        """Make a call that nobody waits for, then tell its result; None if it failed. Not while it `rests`."""

        def over(done: asyncio.Future[Result]) -> None:
            self._behind.discard(done)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                self._rest(_in_words(error))
            then(None if done.cancelled() or error else done.result())

        future = self.insist(call)
        self._behind.add(future)
        future.add_done_callback(over)

    async def close(self) -> None:
        """Let calls under way end, within reason, and let go of the store."""
        self._rests_until = float("inf")
        if self._behind:
            await asyncio.wait(self._behind, timeout=self._patience_s)
        self._threads.shutdown(wait=False, cancel_futures=True)
        with suppress(AnswerStoreError):
            self._store.close()

    def _rest(self, problem: str) -> None:
        self._rests_until = max(self._rests_until, self._clock.monotonic() + _REST_S)
        if self.problem is None:
            logger.warning("the answer cache is of no use now, requests go to the engine: %s", problem)
        self.problem = problem

    def _works(self) -> None:
        if self.problem is not None:
            logger.info("the answer cache can be used again")
        self.problem = None


def _in_words(error: BaseException) -> str:
    return str(error) if isinstance(error, AnswerStoreError) else f"a fault of costctl's own, {type(error).__name__}"
