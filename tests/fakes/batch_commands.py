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

    def check(self, lines, *models):
        self.tell("checked", lines=lines, models=models or ("tiny",))

    def progress(self, done, failed=0, *, of):
        self.tell("progress", lines=of, done=done, failed=failed)

    def through(self, done, failed=0, *, code=0, **more):
        self.tell("ended", lines=done, done=done, failed=failed, **more)
        self.end(code)

    def path(self, *, errors=False, unfinished=False):
        name = "results.errors.jsonl" if errors else "results.jsonl"
        return self.results.with_name(name + ".part" * unfinished)

    def write(self, content, **which):
        self.path(**which).write_bytes(content)

    def end(self, code=0, words=""):
        self._end = (code, words)
        self._told.put_nowait(None)


class FakeBatchCommands:
    """Starts them; `refusal` is why it cannot, if it cannot.

    Those that give up lines put one line with the code among the errors, except for the next few `failing`.
    """

    def __init__(self):
        self.started = []
        self.given_up = []
        self.failing = 0
        self.refusal = None

    async def start(self, source, results, *, endpoint, model, give_up=None):
        if self.refusal:
            raise CostctlError(self.refusal)
        command = FakeBatchCommand(source, results, endpoint)
        command.model = model
        if give_up is None:
            self.started.append(command)
        else:
            self.given_up.append((source.name, give_up.code))
            self._give_up(command, give_up.code)
        return command

    def _give_up(self, command, code):
        if self.failing:
            self.failing -= 1
            command.end(1, "the disk is full")
            return
        for errors in (False, True):
            part, final = command.path(errors=errors, unfinished=True), command.path(errors=errors)
            if part.exists():
                part.rename(final)
        with command.path(errors=True).open("a") as file:
            file.write(f"{code}\n")
        command.check(10)
        command.through(10, 8, code=4, usage={"input_tokens": 5})
