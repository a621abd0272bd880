"""Batches' processes (port BatchCommands) that tell what a test says."""

import asyncio

from costctl.errors import CostctlError


class FakeBatchCommand:
    """One `costctl batch`; the test makes it tell things, write results, and end."""

    def __init__(self, source, results, endpoint):
        self.source, self.results, self.endpoint = source, results, endpoint
        self.signals = []
        self._told = asyncio.Queue()
        self._end = (0, "")

    async def events(self):
        while (event := await self._told.get()) is not None:
            yield event

    async def wait(self):
        return self._end

    def terminate(self):
        self.signals.append("TERM")

    def kill(self):
        self.signals.append("KILL")
        self.end(-9)

    def tell(self, event, **told):
        self._told.put_nowait({"event": event, **told})

    def check(self, lines):
        self.tell("checked", lines=lines)

    def progress(self, done, failed=0, *, of):
        self.tell("progress", lines=of, done=done, failed=failed)

    def write(self, content, *, errors=False, unfinished=False):
        name = "results.errors.jsonl" if errors else "results.jsonl"
        self.results.with_name(name + ".part" * unfinished).write_bytes(content)

    def end(self, code=0, words=""):
        self._end = (code, words)
        self._told.put_nowait(None)


class FakeBatchCommands:
    """Starts them; `refusal` is why it cannot, if it cannot."""

    def __init__(self):
        self.started = []
        self.refusal = None

    async def start(self, source, results, *, endpoint):
        if self.refusal:
            raise CostctlError(self.refusal)
        self.started.append(FakeBatchCommand(source, results, endpoint))
        return self.started[-1]
