"""Batches that were ordered over HTTP: each is a `costctl batch` of its own, which queues for the engine as all do.

What is to be done is on the disk before anything is answered, and what has been done is in the batch's journal: a
daemon that is killed goes on with everything at its next start.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from costctl.domain.http_batches import Counts, Fault, HttpBatch, Status
from costctl.domain.policy import Evidence
from costctl.domain.stored_files import Purpose
from costctl.errors import CostctlError
from costctl.waiting import done_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from costctl.daemon.stored_files import StoredFiles
    from costctl.domain.http_batches import BatchOrder
    from costctl.domain.stored_files import StoredFile
    from costctl.ports import BatchCommand, BatchCommands, Clock, FileStore

logger = logging.getLogger(__name__)

SIGNAL = "batches over HTTP"
PREFIX = "batch_"
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _End:
    """How work on a batch ended: its last state, and why if that is not completion."""

    status: Status
    faults: tuple[Fault, ...] = ()


class HttpBatches:
    """All of them; `new_id` makes ids that grow with time."""

    def __init__(
        self,
        *,
        store: FileStore,
        files: StoredFiles,
        commands: BatchCommands,
        clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:
        self._store = store
        self._files = files
        self._commands = commands
        self._clock = clock
        self._new_id = new_id
        self._batches: dict[str, HttpBatch] = {}
        self._work: dict[str, _Work] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._saving = asyncio.Lock()
        self._is_stopping = False

    # --- the daemon's life ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take over what was kept. Raises CostctlError."""
        records = await asyncio.to_thread(self._store.load)
        self._files.adopt(records)
        self._adopt(records)

    async def watch(self) -> None:
        """Go on with all batches, and let what is over its time expire, until cancelled."""
        while True:
            try:
                await self._files.sweep()
                await self._sweep()
            except CostctlError as error:
                logger.error("%s", error)  # noqa: TRY400 - the words say it
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
        names = [identity for identity, work in self._work.items() if not work.has_lease]
        return Evidence(name=SIGNAL, active=bool(names), detail=", ".join(names) or "none is being prepared")

    # --- what clients ask for ------------------------------------------------------------------------------------

    def all(self) -> list[HttpBatch]:
        """Return all batches."""
        return list(self._batches.values())

    def find(self, identity: str) -> HttpBatch | None:
        """Return a batch."""
        return self._batches.get(identity)

    async def create(self, order: BatchOrder, source: StoredFile) -> HttpBatch:
        """Begin a batch. Raises CostctlError, StorageFullError."""
        now = self._files.now()
        batch = HttpBatch(
            id=self._new_id(PREFIX),
            endpoint=order.endpoint,
            input_file_id=source.id,
            completion_window=order.completion_window,
            created_at=now,
            expires_at=now + order.window_s,
            results_id=self._files.new_id(),
            failures_id=self._files.new_id(),
            metadata=order.metadata,
            outputs_kept_s=order.outputs_kept_s,
        )
        await asyncio.to_thread(self._store.prepare, batch.id, source.id)
        await asyncio.to_thread(self._store.save, batch.id, batch.as_json())
        self._batches[batch.id] = batch
        logger.info("%s: ordered over HTTP, from %s (%s)", batch.id, source.id, source.filename)
        self._begin_next()
        return batch

    async def cancel(self, batch: HttpBatch) -> HttpBatch:
        """Cancel a batch; what is done of it stays. Raises CostctlError, ValueError if it is past that."""
        if batch.status is not Status.CANCELLING:
            await self._set(batch.moved(Status.CANCELLING, self._files.now()))
        self._interrupt(batch.id)
        self._begin_next()
        return self._batches[batch.id]

    # --- work on them --------------------------------------------------------------------------------------------

    def _begin_next(self) -> None:
        """Begin work on the oldest batches, and on all that need no process."""
        if self._is_stopping:
            return
        for batch in sorted(self._batches.values(), key=lambda batch: batch.id):
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

    async def _run(self, identity: str, *, may_try_again: bool) -> _End | None:
        """Run a batch's process to its end; return None if that was no end of the batch."""
        batch, work = self._batches[identity], self._work[identity]
        if not self._needs_process(batch):
            return self._asked_end(batch)
        try:
            source, results = self._store.batch_input(identity), self._store.batch_results(identity)
            work.command = command = await self._commands.start(source, results, endpoint=batch.endpoint)
        except CostctlError as error:
            return _failed("batch_failed", str(error))
        if self._is_stopping or not self._needs_process(self._batches[identity]):
            command.terminate()
        async for event in command.events():
            await self._take(identity, work, event)
        code, words = await command.wait()
        work.command, work.has_lease = None, False
        return self._judge(identity, work, code, words, may_try_again=may_try_again)

    def _judge(self, identity: str, work: _Work, code: int, words: str, *, may_try_again: bool) -> _End | None:
        batch = self._batches[identity]
        if code in _THROUGH and batch.status is Status.IN_PROGRESS:
            return _End(status=Status.COMPLETED)
        if not self._needs_process(batch):
            return self._asked_end(batch)
        if work.faults:
            return _End(status=Status.FAILED, faults=work.faults)
        if work.ended == "cancelled":
            return _End(status=Status.CANCELLED, faults=(Fault(code="cancelled", message=work.why),))
        was_killed = code < 0 or code == _INTERRUPTED or work.ended == "no daemon"
        if self._is_stopping or (was_killed and may_try_again):
            return None
        return _failed("engine_failed" if code == _NO_ENGINE else "batch_failed", work.why or words)

    def _asked_end(self, batch: HttpBatch) -> _End:
        """Return the end of a batch that needs no more work."""
        if batch.status is Status.FINALIZING:
            return _End(status=Status.COMPLETED)
        return _End(status=Status.CANCELLED if batch.status is Status.CANCELLING else Status.EXPIRED)

    def _needs_process(self, batch: HttpBatch) -> bool:
        is_wanted = batch.status in (Status.VALIDATING, Status.IN_PROGRESS)
        return is_wanted and batch.expires_at > self._files.now()

    async def _take(self, identity: str, work: _Work, event: Mapping[str, Any]) -> None:
        """Take in what a batch's process tells."""
        batch = self._batches[identity]
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
                self._batches[identity] = batch = replace(batch, counts=counts)
        if event["event"] == "checked" and batch.status is Status.VALIDATING:
            counts = replace(batch.counts, total=event["lines"])
            await self._set(replace(batch, counts=counts).moved(Status.IN_PROGRESS, self._files.now()))

    # --- the end of one ------------------------------------------------------------------------------------------

    async def _conclude(self, identity: str, end: _End) -> None:
        """Give the results their names and the batch its last state, however often that takes: the disk may be full."""
        while not self._is_stopping:
            try:
                await self._publish(identity, end)
            except CostctlError as error:
                logger.error("%s: its results cannot be kept yet: %s", identity, error)  # noqa: TRY400
                await self._clock.sleep(_LOOK_EVERY_S)
                continue
            return

    async def _publish(self, identity: str, end: _End) -> None:
        for status in _way(self._batches[identity].status, end.status):
            await self._set(self._batches[identity].moved(status, self._files.now()))
        batch = self._batches[identity]
        output = await self._publish_file(batch, batch.results_id, "output")
        errors = await self._publish_file(batch, batch.failures_id, "errors")
        over = batch.moved(end.status, self._files.now())
        await self._set(replace(over, output_file_id=output, error_file_id=errors, faults=end.faults))
        await asyncio.to_thread(self._store.clear, identity)
        logger.info("%s: %s%s", identity, end.status, "".join(f": {fault.message}" for fault in end.faults[:1]))

    async def _publish_file(self, batch: HttpBatch, identity: str, word: str) -> str | None:
        are_failures = identity == batch.failures_id
        size = await asyncio.to_thread(self._store.take_output, batch.id, identity, failures=are_failures)
        if not size:
            return None
        name = f"{batch.id}_{word}.jsonl"
        await self._files.keep(identity, name, Purpose.BATCH_OUTPUT, size, batch.outputs_kept_s)
        return identity

    # --- inside --------------------------------------------------------------------------------------------------

    def _adopt(self, records: Iterable[Mapping[str, Any]]) -> None:
        for record in records:
            if str(record.get("id")).startswith(PREFIX):
                try:
                    batch = HttpBatch.from_json(record)
                except (KeyError, TypeError, ValueError) as error:
                    logger.error("%s is left out: %r", record.get("id"), error)  # noqa: TRY400 - the words say it
                    continue
                self._batches[batch.id] = batch

    async def _sweep(self) -> None:
        """Let what is late expire, and forget what has been over for as long as its results are kept."""
        now = self._files.now()
        for batch in self.all():
            if batch.is_over and batch.ended_at + batch.outputs_kept_s <= now:
                del self._batches[batch.id]
                await asyncio.to_thread(self._store.remove, batch.id)
            elif not batch.is_over and batch.expires_at <= now:
                self._interrupt(batch.id)

    def _interrupt(self, identity: str) -> None:
        work = self._work.get(identity)
        if work is not None and work.command is not None:
            work.command.terminate()

    async def _set(self, batch: HttpBatch) -> None:
        """Keep a batch's new state; it holds from now on, also if it cannot be kept. Raises CostctlError."""
        self._batches[batch.id] = batch
        async with self._saving:
            await asyncio.to_thread(self._store.save, batch.id, self._batches[batch.id].as_json())


def _failed(code: str, message: str) -> _End:
    return _End(status=Status.FAILED, faults=(Fault(code=code, message=message),))


def _way(status: Status, end: Status) -> tuple[Status, ...]:
    """Return the states between the present one and the end."""
    if end is Status.COMPLETED and status is not Status.FINALIZING:
        return (Status.FINALIZING,)
    if end is Status.CANCELLED and status is not Status.CANCELLING:
        return (Status.CANCELLING,)
    return ()
