"""Files and batches behind a front door, in a folder of the test's."""

import tempfile
from itertools import count
from pathlib import Path

from fakes.batch_commands import FakeBatchCommands
from scripted_engine import MODEL
from wire import PATIENCE_S

from costctl.adapters.clock import SystemClock
from costctl.adapters.file_store import FolderStore
from costctl.daemon.frontdoor.stored import StoredRoutes
from costctl.daemon.http_batches import HttpBatches
from costctl.daemon.stored_batches import StoredBatches
from costctl.daemon.stored_files import StoredFiles


class Shelf:
    """Files and batches in a folder of the test's."""

    def __init__(self, *, most_bytes=2**22, patience_s=PATIENCE_S):
        self._folder = tempfile.TemporaryDirectory(prefix="shelf")
        self.folder = Path(self._folder.name) / "files"
        numbers = count(1)

        def new_id(prefix):
            return f"{prefix}{next(numbers):06}"

        clock, store = SystemClock(), FolderStore(self.folder)
        self.commands = FakeBatchCommands()
        self.files = StoredFiles(store=store, clock=clock, most_bytes=most_bytes, new_id=new_id)
        self.batches = StoredBatches(store=store, files=self.files, new_id=new_id)
        self.runs = HttpBatches(
            files=self.files, batches=self.batches, commands=self.commands, clock=clock, model=MODEL
        )
        routes = StoredRoutes(files=self.files, batches=self.batches, runs=self.runs, patience_s=patience_s)
        self.answer = routes.answer

    async def close(self):
        for command in self.commands.started:
            command.end()
        await self.runs.close()
        self._folder.cleanup()
