"""Batches that were ordered over HTTP: each is a `costctl batch` of its own, which queues for the engine as all do.

What is to be done is on the disk before anything is answered, and what has been done is in the batch's journal: a
daemon that is killed goes on with everything at its next start.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from costctl.daemon.http_batch_work import HttpBatchWork
from costctl.domain.http_batches import Status
from costctl.domain.policy import Evidence
from costctl.errors import CostctlError
from costctl.waiting import done_within

if TYPE_CHECKING:
    from costctl.daemon.stored_batches import StoredBatches
    from costctl.daemon.stored_files import StoredFiles
    from costctl.domain.batch_orders import BatchOrder
    from costctl.domain.http_batches import HttpBatch
    from costctl.domain.stored_files import StoredFile
    from costctl.ports import BatchCommands, Clock

logger = logging.getLogger(__name__)

SIGNAL = "batches over HTTP"
_MOST_AT_ONCE = 8
"""So many processes check their lines and queue for the engine; further batches wait for their turn without one."""
_MOST_GIVEN_UP_AT_ONCE = 2
_LOOK_EVERY_S = 10.0
_END_WITHIN_S = 15.0


class HttpBatches:
    """Runs the `batches` that were ordered, and lets them and `files` expire; the engine serves `model`."""

    def __init__(
        self, *, files: StoredFiles, batches: StoredBatches, commands: BatchCommands, clock: Clock, model: str
    ) -> None:
        self._files = files
        self._batches = batches
        self._commands = commands
        self._clock = clock
        self._model = model
        self._may_give_up = asyncio.Semaphore(_MOST_GIVEN_UP_AT_ONCE)
        self._work: dict[str, HttpBatchWork] = {}
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
            work.stop()

    async def close(self) -> None:
        """Return when nothing runs any more."""
        self.stop_soon()
        if self._tasks:
            ended = asyncio.ensure_future(asyncio.wait(self._tasks.values()))
            if not await done_within(self._clock, ended, _END_WITHIN_S):
                for work in self._work.values():
                    work.kill()
            await ended

    def evidence(self) -> Evidence:
        """Return whether a batch is on the way to its lease, which then keeps the instance up."""
        names = [identity for identity, work in self._work.items() if work.is_on_its_way]
        return Evidence(name=SIGNAL, active=bool(names), detail=", ".join(names) or "none is being prepared")

    # --- what clients ask for ------------------------------------------------------------------------------------

    async def create(self, order: BatchOrder, source: StoredFile) -> HttpBatch:
        """Begin a batch. Raises CostctlError, StorageFullError."""
        batch = await self._batches.create(order, source, model=self._model)
        self._begin_next()
        return batch

    async def cancel(self, batch: HttpBatch) -> HttpBatch:
        """Cancel a batch; what is done of it stays. Raises CostctlError, ValueError if it is past that."""
        if batch.status is not Status.CANCELLING:
            await self._batches.move(batch.id, Status.CANCELLING)
        if batch.id in self._work:
            self._work[batch.id].interrupt()
        self._begin_next()
        return self._batches.get(batch.id)

    # --- inside --------------------------------------------------------------------------------------------------

    def _begin_next(self) -> None:
        """Begin work on the oldest batches, and on all that need no engine."""
        if self._is_stopping:
            return
        for batch in self._batches.all():
            may_begin = len(self._work) < _MOST_AT_ONCE or not batch.needs_engine(self._batches.now())
            if not batch.is_over and batch.id not in self._tasks and may_begin:
                self._begin(batch.id)

    def _begin(self, identity: str) -> None:
        self._work[identity] = work = HttpBatchWork(
            identity,
            batches=self._batches,
            commands=self._commands,
            clock=self._clock,
            may_give_up=self._may_give_up,
        )
        self._tasks[identity] = task = asyncio.create_task(work.run(), name=identity)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        identity = task.get_name()
        del self._tasks[identity], self._work[identity]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: work on it failed inside costctl", identity, exc_info=error)
            return  # taken up again with the next look
        self._begin_next()

    def _interrupt_late(self) -> None:
        for identity, work in self._work.items():
            if self._batches.get(identity).expires_at <= self._batches.now():
                work.interrupt()
