"""Sends a line again and again until it has its result."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from costctl.batch.results import Failure
from costctl.batch.retries import MOST_BREAKS, Tries, has_broken, is_busy, may_pass, most_together
from costctl.batch.sender import AwayError, BrokenOffError
from costctl.waiting import set_within

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from random import Random

    from costctl.batch.results import Result
    from costctl.batch.sender import Answer
    from costctl.batch.values import Job
    from costctl.ports import Clock


_AWAY_PAUSE_S = 1.0
"""So often an absent daemon is called: it may be back, with an engine that nobody has asked for anything yet."""


class Post(Protocol):
    """Sends lines."""

    async def send(self, job: Job) -> Answer:
        """Return what came back. Raises AwayError, BrokenOffError."""
        ...


class Carrier:
    """Carries lines to the engine; `in_flight` are there, `sent_again` had to go more than once."""

    def __init__(
        self, *, post: Post, clock: Clock, chance: Random, stopping: asyncio.Event, when_busy: Callable[[], None]
    ) -> None:
        self._post = post
        self._clock = clock
        self._chance = chance
        self._stopping = stopping
        self._when_busy = when_busy
        self._companies: dict[int, asyncio.Semaphore] = {}
        self.in_flight = 0
        self.sent_again = 0

    async def carry(self, job: Job) -> Result | Failure | None:
        """Return what became of a line, None if everything stops before that is known."""
        tries = Tries()
        while not self._stopping.is_set():
            async with self._company(tries):
                found = None if self._stopping.is_set() else await self._attempt(job, tries)
            if not isinstance(found, Tries):
                return found
            tries = found
            self.sent_again += 1
            await set_within(self._clock, self._stopping, tries.pause_s(self._chance))
        return None

    def _company(self, tries: Tries) -> AbstractAsyncContextManager[object]:
        """Return what has to be entered before a line with such a past is sent."""
        most = most_together(tries)
        return nullcontext() if most is None else self._companies.setdefault(most, asyncio.Semaphore(most))

    async def _attempt(self, job: Job, tries: Tries) -> Result | Failure | Tries:
        """Send a line once; return its result, or how often it was sent in vain."""
        self.in_flight += 1
        try:
            answer = await self._post.send(job)
        except AwayError:
            return replace(tries, refused=tries.refused + 1, asked_s=_AWAY_PAUSE_S)
        except BrokenOffError as error:
            tries = replace(tries, broken=tries.broken + 1, asked_s=0.0)
            words = f"the connection broke {tries.broken} times: {error}"
            return tries if tries.broken < MOST_BREAKS else Failure(code="connection", message=words)
        finally:
            self.in_flight -= 1
        return self._judge(answer, tries)

    def _judge(self, answer: Answer, tries: Tries) -> Result | Tries:
        result = answer.result
        if is_busy(result):
            self._when_busy()
            return replace(tries, refused=tries.refused + 1, asked_s=answer.retry_after_s)
        if has_broken(result):
            tries = replace(tries, broken=tries.broken + 1, asked_s=answer.retry_after_s)
            return tries if tries.broken < MOST_BREAKS else result
        tries = replace(tries, failed=tries.failed + 1, asked_s=answer.retry_after_s)
        return tries if may_pass(result, tries) else result
