"""The daemon's part that keeps files and runs batches, with the real folder and processes of the test's making."""

import asyncio
from itertools import count

from fakes.batch_commands import FakeBatchCommands
from fakes.clock import settle

from costctl.adapters.file_store import FolderStore
from costctl.daemon.http_batches import HttpBatches
from costctl.daemon.stored_batches import StoredBatches
from costctl.daemon.stored_files import StoredFiles
from costctl.domain.batch_orders import read_order
from costctl.domain.stored_files import KEPT_S, Purpose
from costctl.errors import StorageFullError

CHAT = "/v1/chat/completions"
INPUT = b'{"custom_id":"a"}\n'


class FullStore(FolderStore):
    """A store whose disk is full for so many writes."""

    failures = 0
    cannot_save = False
    room = True

    def save(self, identity, record):
        if self.cannot_save:
            raise StorageFullError("cannot write: the disk is full")
        super().save(identity, record)

    def has_room(self):
        return self.room

    def take_output(self, batch, identity, *, failures):
        if self.failures:
            self.failures -= 1
            raise StorageFullError("cannot write: the disk is full")
        return super().take_output(batch, identity, failures=failures)


class House:
    """The daemon's part that keeps files and runs batches; several, one after the other, may live in one folder."""

    numbers = count(1)

    def __init__(self, folder, clock, *, most_bytes=10_000, model="tiny"):
        self.clock = clock
        self.store = FullStore(folder)
        self.commands = FakeBatchCommands()

        def new_id(prefix):
            return f"{prefix}{next(self.numbers):06}"

        self.files = StoredFiles(store=self.store, clock=clock, most_bytes=most_bytes, new_id=new_id)
        self.stored = StoredBatches(store=self.store, files=self.files, new_id=new_id)
        self.batches = HttpBatches(
            files=self.files, batches=self.stored, commands=self.commands, clock=clock, model=model
        )

    async def open(self):
        await self.batches.open()
        self.watching = asyncio.create_task(self.batches.watch())
        await settle()
        return self

    async def die(self):
        """End as by SIGKILL: nothing is done any more."""
        self.watching.cancel()
        self.batches._is_stopping = True
        for task in self.batches._tasks.values():
            task.cancel()
        await settle()

    async def upload(self, content=INPUT):
        incoming = await self.files.begin()
        try:
            await incoming.write(content)
            return await incoming.keep(filename="jobs.jsonl", purpose=Purpose.BATCH, kept_s=KEPT_S)
        finally:
            await incoming.close()

    async def order(self, **more):
        source = await self.upload()
        batch = await self.batches.create(read_order({"input_file_id": source.id, "endpoint": CHAT, **more}), source)
        await settle()
        return batch.id

    async def running(self, *, done=0, failed=0, of=10, **more):
        """Order a batch, and bring it so far."""
        identity = await self.order(**more)
        command = self.commands.started[-1]
        command.check(of)
        command.progress(done, failed, of=of)
        await settle()
        return identity, command

    def find(self, identity):
        return self.stored.find(identity)

    def content(self, identity):
        return self.files.content(self.files.find(identity)).read_bytes()

    def place(self, identity):
        return self.store.batch_input(identity).parent
