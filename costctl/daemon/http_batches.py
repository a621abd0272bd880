"""Batches that were ordered over HTTP: each is a `costctl batch` of its own, which queues for the engine as all do.

What is to be done is on the disk before anything is answered, and what has been done is in the batch's journal: a
daemon that is killed goes on with everything at its next start.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costctl.domain.http_batches import Counts, End, Fault, Status
from costctl.domain.policy import Evidence
from costctl.errors import CostctlError
from costctl.waiting import done_within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costctl.daemon.stored_batches import StoredBatches
    from costctl.daemon.stored_files import StoredFiles
    from costctl.domain.http_batches import BatchOrder, HttpBatch
    from costctl.domain.stored_files import StoredFile
    from costctl.ports import BatchCommand, BatchCommands, Clock

logger = logging.getLogger(__name__)

SIGNAL = "batches over HTTP"
_MOST_AT_ONCE = 8
"""So many processes check their lines and queue for the engine; further batches wait for their turn without one."""
_LOOK_EVERY_S = 10.0
_MOST_TRIES = 5
_TRY_AGAIN_S = 5.0
_END_WITHIN_S = 15.0
_THROUGH = (0, 4)
"""Exit codes of `costctl batch`: all lines are done, of which some may have failed."""
_NO_ENGINE, _INTERRUPTED = 3, 130


@dataclass(kw_only=True, slots=True)
class _Work:
    """What is known of a batch while a process works on it."""

    command: BatchCommand | None = None
    has_lease: bool = False
    faults: tuple[Fault, ...] = ()
    ended: str = ""
    why: str = ""


class HttpBatches:
    """Runs the `batches` that were ordered, and lets them and `files` expire."""

    def __init__(self, *, files: StoredFiles, batches: StoredBatches, commands: BatchCommands, clock: Clock) -> None:
        self._files = files
        self._batches = batches
        self._commands = commands
        self._clock = clock
        self._work: dict[str, _Work] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_stopping = False

    # --- the daemon's life ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take over what was kept. Raises CostctlError."""
        await self._batches.open()

    async def watch(self) -> None:
        """Go on with all batches, and let what is over its time expire, until cancelled."""
        while True:
            try:
                await self._files.sweep()
                await self._batches.sweep()
            except CostctlError as error:
                logger.error("%s", error)  # noqa: TRY400 - the words say it
            self._interrupt_late()
            self._begin_next()
            await self._clock.sleep(_LOOK_EVERY_S)

    def stop_soon(self) -> None:
        """Begin nothing more, and ask what runs to end; the next daemon goes on with it."""
        self._is_stopping = True
        for work in self._work.values():
            if work.command is not None:
                work.command.terminate()

    async def close(self) -> None:
        """Return when nothing runs any more."""
        self.stop_soon()
        if self._tasks:
            ended = asyncio.ensure_future(asyncio.wait(self._tasks.values()))
            if not await done_within(self._clock, ended, _END_WITHIN_S):
                for work in self._work.values():
                    if work.command is not None:
                        work.command.kill()
            await ended

    def evidence(self) -> Evidence:
        """Return whether a batch is on the way to its lease, which then keeps the instance up."""
        names = [identity for identity, work in self._work.items() if work.command is not None and not work.has_lease]
        return Evidence(name=SIGNAL, active=bool(names), detail=", ".join(names) or "none is being prepared")

    # --- what clients ask for ------------------------------------------------------------------------------------

    async def create(self, order: BatchOrder, source: StoredFile) -> HttpBatch:
        """Begin a batch. Raises CostctlError, StorageFullError."""
        batch = await self._batches.create(order, source)
        self._begin_next()
        return batch

    async def cancel(self, batch: HttpBatch) -> HttpBatch:
        """Cancel a batch; what is done of it stays. Raises CostctlError, ValueError if it is past that."""
        if batch.status is not Status.CANCELLING:
            await self._batches.move(batch.id, Status.CANCELLING)
        self._interrupt(batch.id)
        self._begin_next()
        return self._batches.get(batch.id)

    # --- work on them --------------------------------------------------------------------------------------------

    def _begin_next(self) -> None:
        """Begin work on the oldest batches, and on all that need no process."""
        if self._is_stopping:
            return
        for batch in self._batches.all():
            may_begin = not self._needs_process(batch) or len(self._work) < _MOST_AT_ONCE
            if not batch.is_over and batch.id not in self._tasks and may_begin:
                self._work[batch.id] = _Work()
                self._tasks[batch.id] = task = asyncio.create_task(self._carry(batch.id), name=batch.id)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        identity = task.get_name()
        del self._tasks[identity], self._work[identity]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: work on it failed inside costctl", identity, exc_info=error)
            return  # taken up again with the next look
        self._begin_next()

    async def _carry(self, identity: str) -> None:
        """Work on a batch until it is over or the daemon stops."""
        for tries in range(1, _MOST_TRIES + 1):
            end = await self._run(identity, may_try_again=tries < _MOST_TRIES)
            if end is not None:
                await self._conclude(identity, end)
            if end is not None or self._is_stopping:
                return
            await self._clock.sleep(_TRY_AGAIN_S)

    async def _run(self, identity: str, *, may_try_again: bool) -> End | None:
        """Run a batch's process to its end; return None if that was no end of the batch."""
        batch, work = self._batches.get(identity), self._work[identity]
        if not self._needs_process(batch):
            return self._asked_end(batch)
        try:
            source, results = self._batches.paths(identity)
            work.command = command = await self._commands.start(source, results, endpoint=batch.endpoint)
        except CostctlError as error:
            return _failed("batch_failed", str(error))
        if self._is_stopping or not self._needs_process(self._batches.get(identity)):
            command.terminate()
        try:
            async for event in command.events():
                await self._take(identity, work, event)
            code, words = await command.wait()
        except BaseException:
            command.kill()
            raise
        work.command, work.has_lease = None, False
        return self._judge(identity, work, code, words, may_try_again=may_try_again)

    def _judge(self, identity: str, work: _Work, code: int, words: str, *, may_try_again: bool) -> End | None:
        batch = self._batches.get(identity)
        if code in _THROUGH and batch.status is Status.IN_PROGRESS:
            return End(status=Status.COMPLETED)
        if not self._needs_process(batch):
            return self._asked_end(batch)
        if work.faults:
            return End(status=Status.FAILED, faults=work.faults)
        if work.ended == "cancelled":
            return End(status=Status.CANCELLED, faults=(Fault(code="cancelled", message=work.why),))
        was_killed = code < 0 or code == _INTERRUPTED or work.ended == "no daemon"
        if self._is_stopping or (was_killed and may_try_again):
            return None
        return _failed("engine_failed" if code == _NO_ENGINE else "batch_failed", work.why or words)

    def _asked_end(self, batch: HttpBatch) -> End:
        """Return the end of a batch that needs no more work."""
        if batch.status is Status.FINALIZING:
            return End(status=Status.COMPLETED)
        return End(status=Status.CANCELLED if batch.status is Status.CANCELLING else Status.EXPIRED)

    def _needs_process(self, batch: HttpBatch) -> bool:
        is_wanted = batch.status in (Status.VALIDATING, Status.IN_PROGRESS)
        return is_wanted and batch.expires_at > self._batches.now()

    async def _take(self, identity: str, work: _Work, event: Mapping[str, Any]) -> None:
        """Take in what a batch's process tells."""
        batch = self._batches.get(identity)
        match event["event"]:
            case "problems":
                work.faults = tuple(
                    Fault(code="invalid_line", message=problem["text"], line=problem["line"])
                    for problem in event["problems"]
                )
            case "progress" | "ended":
                work.has_lease = True
                work.ended, work.why = event.get("ended", ""), event.get("why", "")
                succeeded = event["done"] - event["failed"]
                counts = Counts(total=event["lines"], completed=succeeded, failed=event["failed"])
                self._batches.count(identity, counts)
            case "checked" if batch.status is Status.VALIDATING:
                self._batches.count(identity, Counts(total=event["lines"]))
                with suppress(CostctlError):  # it holds; what could not be kept is found out again
                    await self._batches.move(identity, Status.IN_PROGRESS)

    async def _conclude(self, identity: str, end: End) -> None:
        """Give the results their names and the batch its last state, however often that takes: the disk may be full."""
        while not self._is_stopping:
            try:
                await self._batches.publish(identity, end)
            except CostctlError as error:
                logger.error("%s: its results cannot be kept yet: %s", identity, error)  # noqa: TRY400
                await self._clock.sleep(_LOOK_EVERY_S)
                continue
            return

    # --- inside --------------------------------------------------------------------------------------------------

    def _interrupt_late(self) -> None:
        for batch in self._batches.all():
            if not batch.is_over and batch.expires_at <= self._batches.now():
                self._interrupt(batch.id)

    def _interrupt(self, identity: str) -> None:
        work = self._work.get(identity)
        if work is not None and work.command is not None:
            work.command.terminate()


def _failed(code: str, message: str) -> End:
    return End(status=Status.FAILED, faults=(Fault(code=code, message=message),))
