"""The batches that clients of the front door ordered: what there is, and what becomes of their results."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from costctl.domain.http_batches import HttpBatch, Status, way_to
from costctl.domain.stored_files import Purpose
from costctl.errors import CostctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from costctl.daemon.stored_files import StoredFiles
    from costctl.domain.batch_orders import BatchOrder
    from costctl.domain.http_batches import End
    from costctl.domain.stored_files import StoredFile
    from costctl.ports import FileStore

logger = logging.getLogger(__name__)

PREFIX = "batch_"


class StoredBatches:
    """All of them; `new_id` makes ids that grow with time."""

    def __init__(self, *, store: FileStore, files: StoredFiles, new_id: Callable[[str], str]) -> None:
        self._store = store
        self._files = files
        self._new_id = new_id
        self._batches: dict[str, HttpBatch] = {}
        self._saving = asyncio.Lock()

    async def open(self) -> None:
        """Take over what was kept, files too. Raises CostctlError."""
        records = await asyncio.to_thread(self._store.load)
        self._files.adopt(records)
        self._adopt(records)

    def all(self) -> list[HttpBatch]:
        """Return all batches, the oldest first."""
        return sorted(self._batches.values(), key=lambda batch: batch.id)

    def find(self, identity: str) -> HttpBatch | None:
        """Return a batch."""
        return self._batches.get(identity)

    def get(self, identity: str) -> HttpBatch:
        """Return a batch that is there."""
        return self._batches[identity]

    def now(self) -> int:
        """Return the time as OpenAI's API tells it."""
        return self._files.now()

    def paths(self, identity: str) -> tuple[Path, Path]:
        """Return where a batch's input is, and where its results go."""
        return self._store.batch_input(identity), self._store.batch_results(identity)

    async def has_room(self) -> bool:
        """Return whether the disk has room to go on with."""
        return await asyncio.to_thread(self._store.has_room)

    async def create(self, order: BatchOrder, source: StoredFile, *, model: str) -> HttpBatch:
        """Take an order; `model` is what lines are for that name none. Raises CostctlError, StorageFullError."""
        now = self.now()
        batch = HttpBatch(
            id=self._new_id(PREFIX),
            endpoint=order.endpoint,
            input_file_id=source.id,
            completion_window=order.completion_window,
            created_at=now,
            expires_at=now + order.window_s,
            results_id=self._files.new_id(),
            failures_id=self._files.new_id(),
            default_model=model,
            metadata=order.metadata,
            outputs_kept_s=order.outputs_kept_s,
        )
        try:
            await asyncio.to_thread(self._store.prepare, batch.id, source.id)
            await asyncio.to_thread(self._store.save, batch.id, batch.as_json())
        except CostctlError:
            await asyncio.to_thread(self._store.clear, batch.id)
            raise
        self._batches[batch.id] = batch
        logger.info("%s: ordered over HTTP, from %s (%s)", batch.id, source.id, source.filename)
        return batch

    def note(self, identity: str, **facts: Any) -> None:
        """Take in what is known of a batch; it is kept with its next state, until then its journal knows."""
        self._batches[identity] = replace(self._batches[identity], **facts)

    async def move(self, identity: str, status: Status) -> None:
        """Bring a batch into another state. Raises CostctlError, ValueError if that cannot follow."""
        await self._set(self._batches[identity].moved(status, self.now()))

    async def approach(self, identity: str, end: Status) -> None:
        """Bring a batch into the state before its `end`, if there is one; it holds also if it cannot be kept."""
        with suppress(CostctlError):
            for status in way_to(end, self._batches[identity].status):
                await self.move(identity, status)

    async def publish(self, identity: str, end: End) -> None:
        """Give the results their names and the batch its last state; doing it again is fine. Raises CostctlError."""
        batch = self._batches[identity]
        output = await self._publish_file(batch, batch.results_id, "output")
        errors = await self._publish_file(batch, batch.failures_id, "errors")
        over = batch.moved(end.status, self.now())
        await self._set(replace(over, output_file_id=output, error_file_id=errors, faults=end.faults))
        await asyncio.to_thread(self._store.clear, identity)
        logger.info("%s: %s%s", identity, end.status, "".join(f": {fault.message}" for fault in end.faults[:1]))

    async def sweep(self) -> None:
        """Forget what has been over for as long as its results are kept. Raises CostctlError."""
        for batch in self.all():
            if batch.is_over and batch.ended_at + batch.outputs_kept_s <= self.now():
                del self._batches[batch.id]
                await asyncio.to_thread(self._store.remove, batch.id)

    def _adopt(self, records: Iterable[Mapping[str, Any]]) -> None:
        for record in records:
            if str(record.get("id")).startswith(PREFIX):
                try:
                    batch = HttpBatch.from_json(record)
                except (KeyError, TypeError, ValueError) as error:
                    logger.error("%s is left out: %r", record.get("id"), error)  # noqa: TRY400 - the words say it
                    continue
                self._batches[batch.id] = batch

    async def _publish_file(self, batch: HttpBatch, identity: str, word: str) -> str | None:
        are_failures = identity == batch.failures_id
        size = await asyncio.to_thread(self._store.take_output, batch.id, identity, failures=are_failures)
        if not size:
            return None
        name = f"{batch.id}_{word}.jsonl"
        await self._files.keep(identity, name, Purpose.BATCH_OUTPUT, size, batch.outputs_kept_s)
        return identity

    async def _set(self, batch: HttpBatch) -> None:
        """Keep a batch's new state; it holds from now on, also if it cannot be kept."""
        self._batches[batch.id] = batch
        async with self._saving:
            await asyncio.to_thread(self._store.save, batch.id, self._batches[batch.id].as_json())
