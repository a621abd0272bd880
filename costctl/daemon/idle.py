"""Watch idleness and take the ladder's last rung at the end of the idle window."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from costctl.domain.durations import format_duration
from costctl.domain.lifecycle import EngineState
from costctl.domain.policy import Choice, Verdict
from costctl.domain.sessions import EndReason
from costctl.errors import InstanceActionError
from costctl.waiting import set_within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from costctl.daemon.activity import Activity
    from costctl.daemon.recorder import Recorder
    from costctl.daemon.supervisor import Supervisor
    from costctl.ports import Clock, InstanceAction

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 5.0
_SHORTEST_LOOK_S = 0.05
_ACTION_RETRY_FIRST_S = 60.0
_ACTION_RETRY_LONGEST_S = 900.0


class IdleWatch:
    """Reads the signals every few seconds and acts on the policy's verdict.

    `action` is None where only the engine is stopped (`unload`).
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        activity: Activity,
        recorder: Recorder,
        action: InstanceAction | None,
        settle_ledger: Callable[[], Awaitable[None]],
        clock: Clock,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._supervisor = supervisor
        self._activity = activity
        self._recorder = recorder
        self._action = action
        self._settle_ledger = settle_ledger
        self._clock = clock
        self._look_every_s = look_every_s
        self._warned = False
        self._action_failures = 0
        self._not_before = float("-inf")
        self._wish: str | None = None
        self._woken = asyncio.Event()

    def stop_soon(self, why: str) -> None:
        """Take the last rung now, without an idle window, unless something is active."""
        self._wish = why
        self._woken.set()

    async def until_stopped(self) -> None:
        """Watch until the instance has been stopped (or, with `exit`, may be left)."""
        while True:
            verdict = self._supervisor.consider(await self._activity.read())
            self._recorder.gpus_read(self._activity.readings)
            self._mention(verdict)
            if self._wish is not None and await self._grant():
                return
            if self._due(verdict) and await self._take_rung():
                return
            await set_within(self._clock, self._woken, self._pause_s(verdict))

    def _due(self, verdict: Verdict) -> bool:
        if verdict.choice is not Choice.STOP or self._clock.monotonic() < self._not_before:
            return False
        return self._action is not None or self._supervisor.lifecycle.state is EngineState.READY

    def _pause_s(self, verdict: Verdict) -> float:
        """Return the time to the next look: a moment that matters is met exactly, not at the next tick."""
        moments = [self._look_every_s]
        if verdict.stop_at is not None:
            moments.append(verdict.stop_at - self._clock.monotonic())
        return max(_SHORTEST_LOOK_S, min(moment for moment in moments if moment > 0))

    def _mention(self, verdict: Verdict) -> None:
        if verdict.choice is Choice.WARN and not self._warned and self._worth_a_warning():
            logger.warning("idle: %s unless work arrives", verdict.reason)
            self._recorder.decided(verdict, self._supervisor.signals, acted=False)
            self._warned = True
        elif verdict.choice is Choice.KEEP and self._warned:
            logger.info("idle: the stop is cancelled: %s", verdict.reason)
            self._recorder.decided(verdict, self._supervisor.signals, acted=False)
            self._warned = False

    def _worth_a_warning(self) -> bool:
        return self._action is not None or self._supervisor.lifecycle.state is EngineState.READY

    async def _grant(self) -> bool:
        """Do what was wished for, once: if something is active, it is again the idle window that decides."""
        why, self._wish = self._wish, None
        self._woken.clear()
        logger.info("%s", why)
        return await self._take_rung(at_once=True)

    async def _take_rung(self, *, at_once: bool = False) -> bool:
        """Stop the engine, then the instance; return whether the daemon is done."""
        verdict = await self._still_idle(at_once=at_once)
        if verdict is None:
            return False
        self._recorder.decided(verdict, self._supervisor.signals, acted=True)
        logger.info("idle: %s; stopping the engine", verdict.reason)
        self._warned = False
        self._supervisor.stop(verdict.reason)
        state = await self._supervisor.settled()
        if self._action is None or state is EngineState.READY:
            return False
        return await self._stop_instance(self._action, at_once=at_once)

    async def _still_idle(self, *, at_once: bool) -> Verdict | None:
        """Read every signal anew: what is stopped for idleness must be idle in this very moment."""
        verdict = self._supervisor.consider(await self._activity.read(final=True), at_once=at_once)
        if verdict.choice is not Choice.STOP:
            logger.info("idle: the stop is cancelled: %s", verdict.reason)
            self._recorder.decided(verdict, self._supervisor.signals, acted=False)
            self._warned = False
            return None
        return verdict

    async def _stop_instance(self, action: InstanceAction, *, at_once: bool) -> bool:
        if not await self._still_idle(at_once=at_once):
            return False
        # From here on requests are refused: the verdict and this line are one step of the event loop.
        self._supervisor.stop("idle", closing=True)
        await self._supervisor.settled()
        self._recorder.close_session(EndReason.IDLE)
        await self._settle_ledger()
        try:
            await action.perform()
        except InstanceActionError as error:
            self._go_on(error)
            return False
        return True

    def _go_on(self, error: InstanceActionError) -> None:
        pause = min(_ACTION_RETRY_LONGEST_S, _ACTION_RETRY_FIRST_S * 2.0**self._action_failures)
        self._action_failures += 1
        self._not_before = self._clock.monotonic() + pause
        logger.error("idle: %s; next attempt in %s", error, format_duration(pause))
        self._recorder.reopen_session()
        self._supervisor.reopen()
