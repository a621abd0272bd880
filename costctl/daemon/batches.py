"""Batches in the daemon: leases that queue for the engine, keep the instance up, and end; the lines come by the door.

Everything runs on the daemon's event loop and is synchronous, as in the supervisor.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from costctl.daemon.supervisor import Refusal
from costctl.domain.batches import Lease, Outcome, Progress, Then, Wish, may_begin, place_in_queue
from costctl.domain.lifecycle import EngineState
from costctl.domain.policy import Evidence
from costctl.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from costctl.daemon.recorder import Recorder
    from costctl.daemon.supervisor import Supervisor
    from costctl.ports import Clock

logger = logging.getLogger(__name__)

SIGNAL = "batches"
_RUNS_KEPT = 100


@dataclass(eq=False, kw_only=True, slots=True)
class OpenLease:
    """A lease as its connection holds it; `changed` is set whenever there is something to tell."""

    lease: Lease
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    began: datetime | None = None
    cancelled: str | None = None
    """Why it was cancelled, if it was."""
    is_complete: bool = False
    """Whether all lines are done, as its client says."""

    @property
    def outcome(self) -> Outcome:
        """How it ends if it ends now."""
        if self.cancelled is not None:
            return Outcome.CANCELLED
        return Outcome.DONE if self.is_complete else Outcome.INTERRUPTED


class Batches:
    """All leases, in the order in which they were asked for."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        recorder: Recorder,
        clock: Clock,
        shut_down: Callable[[str], None] | None,
    ) -> None:
        self._supervisor = supervisor
        self._recorder = recorder
        self._clock = clock
        self._shut_down = shut_down
        self._open: dict[int, OpenLease] = {}
        self._asked = 0
        self._runs_of_schedules: deque[int | None] = deque(maxlen=_RUNS_KEPT)

    # --- a lease's life ------------------------------------------------------------------------------------------

    def ask(self, wish: Wish) -> OpenLease:
        """Queue a batch, and begin it at once if it is its turn.

        Raises:
            Refusal: the daemon is ending.
            RefusedError: it wants what this daemon does not do.
        """
        if self._supervisor.lifecycle.closing:
            raise Refusal("shutting_down", "the daemon is shutting down and begins no batch")
        if wish.then is Then.SHUTDOWN and self._shut_down is None:
            raise RefusedError(
                "--then shutdown: this daemon's --on-idle does not stop the machine; "
                "start it with --on-idle poweroff or 'command: ...'"
            )
        self._asked += 1
        self._runs_of_schedules.append(wish.schedule_run)
        opened = OpenLease(lease=Lease(number=self._asked, wish=wish, asked_at=self._clock.monotonic()))
        self._open[self._asked] = opened
        self._begin_next()
        return opened

    def progressed(self, opened: OpenLease, progress: Progress) -> None:
        """Take in how far a batch is."""
        opened.lease = opened.lease.progressed(progress, self._clock.monotonic())
        if opened.began is not None:
            self._recorder.batch_progressed(opened.lease.number, progress)

    def look(self, opened: OpenLease) -> None:
        """Cancel the batch if it is overdue."""
        why = opened.lease.overdue(self._clock.monotonic())
        if why is not None and opened.cancelled is None:
            logger.warning("batch %d (%s): cancelled: %s", opened.lease.number, opened.lease.wish.name, why)
            self._cancel(opened, why)

    def cancel(self, number: int) -> bool:
        """Cancel a batch; return whether there is one of this number."""
        opened = self._open.get(number)
        if opened is not None:
            self._cancel(opened, "costctl batch cancel")
        return opened is not None

    def end(self, opened: OpenLease) -> None:
        """End a lease, however it came to its end, and let the next one begin."""
        lease = opened.lease
        del self._open[lease.number]
        if opened.began is not None:
            self._recorder.batch_ended(lease.number, opened.outcome)
            logger.info("batch %d (%s): %d lines, %d failed, %s", *_told(lease), opened.outcome)
        self._begin_next()

    def carry_out(self, wish: Wish) -> str:
        """Do what was wished for after a batch that is through, and return in words what will be done."""
        match wish.then:
            case Then.UNLOAD:
                return self._unload(wish)
            case Then.SHUTDOWN if self._shut_down is not None:
                if self._open:
                    return "the machine stays up: another batch is there"
                self._shut_down(f"batch {wish.name} is done (--then shutdown)")
                return "the machine is stopped now, unless something else works on it"
            case _:
                return ""

    # --- to look at ----------------------------------------------------------------------------------------------

    def evidence(self) -> Evidence:
        """Return whether a batch keeps the instance up: overdue ones do not."""
        at = self._clock.monotonic()
        names = [
            opened.lease.wish.name
            for opened in self._open.values()
            if opened.cancelled is None and opened.lease.overdue(at) is None
        ]
        detail = ", ".join(names) or "no batch runs"
        return Evidence(name=SIGNAL, active=bool(names), detail=detail)

    def has_seen(self, schedule_run: int) -> bool:
        """Return whether that run of a schedule has asked for a lease, which keeps the instance up from then on."""
        return schedule_run in self._runs_of_schedules

    def place(self, opened: OpenLease) -> int:
        """Return the lease's place in the queue, 0 if it runs."""
        return place_in_queue([each.lease for each in self._open.values()], opened.lease.number)

    def read(self) -> list[dict[str, Any]]:
        """Return all batches for display."""
        return [self._describe(opened) for opened in self._open.values()]

    def _describe(self, opened: OpenLease) -> dict[str, Any]:
        lease, at = opened.lease, self._clock.monotonic()
        state = "cancelled" if opened.cancelled else "queued" if opened.began is None else "running"
        return {
            "id": lease.number,
            "name": lease.wish.name,
            "state": state,
            "place": self.place(opened),
            "lines": lease.wish.lines,
            "requests": lease.progress.requests,
            "failed": lease.progress.failed,
            "prompt_tokens": lease.progress.prompt_tokens,
            "generation_tokens": lease.progress.generation_tokens,
            "seconds": None if lease.began_at is None else round(at - lease.began_at, 1),
            "then": lease.wish.then.value,
        }

    # --- inside --------------------------------------------------------------------------------------------------

    def _begin_next(self) -> None:
        for lease in may_begin(opened.lease for opened in self._open.values()):
            opened = self._open[lease.number]
            opened.lease = lease.begun(self._clock.monotonic())
            opened.began = self._recorder.now()
            self._recorder.batch_began(lease.number, lease.wish)
            logger.info("batch %d (%s): begins, %d lines", lease.number, lease.wish.name, lease.wish.lines)
        for opened in self._open.values():
            opened.changed.set()

    def _cancel(self, opened: OpenLease, why: str) -> None:
        opened.cancelled = why
        opened.changed.set()

    def _unload(self, wish: Wish) -> str:
        state = self._supervisor.lifecycle
        if self._open or state.in_flight or state.waiting:
            return "the engine stays up: it has other work"
        if state.state is not EngineState.READY:
            return ""
        self._supervisor.stop(f"batch {wish.name} is done (--then unload)")
        return "the engine is stopped"


def _told(lease: Lease) -> tuple[int, str, int, int]:
    return lease.number, lease.wish.name, lease.progress.requests, lease.progress.failed
