"""Commands that run as long as a test says, alarms that ring when the fake clock says so."""

import asyncio
from pathlib import Path

from costctl.errors import CostctlError


class FakeAlarms:
    """Alarms (port Alarms): a test rings them by `ring`."""

    def __init__(self, fire):
        self.fire = fire
        self.set_to = {}
        self.sets = 0
        self.problem = None
        self.closed = False

    def set(self, alarms):
        if self.problem:
            raise self.problem
        self.sets += 1
        self.set_to = {alarm.schedule.name: alarm.at for alarm in alarms}

    def close(self):
        self.closed = True


class FakeCommand:
    """A command (port Command); `heeds` says whether SIGTERM ends it."""

    def __init__(self, arguments, log, *, heeds=True, words="the last line"):
        self.arguments = arguments
        self.log = log
        self.heeds = heeds
        self.words = words
        self.signals = []
        self.ended = asyncio.get_running_loop().create_future()

    async def wait(self):
        return await asyncio.shield(self.ended)

    def end(self, code=0):
        if not self.ended.done():
            self.ended.set_result(code)

    def terminate(self):
        self.signals.append("TERM")
        if self.heeds:
            self.end(-15)

    def kill(self):
        self.signals.append("KILL")
        self.end(-9)

    def last_lines(self):
        return self.words


class FakeCommands:
    """Commands (port Commands); those in `elsewhere` run, started by somebody else."""

    def __init__(self):
        self.started = []
        self.elsewhere = set()
        self.exit_codes = {}
        self.heeds = True
        self.problem = None

    def log_of(self, name, at):
        return Path(f"/logs/{name}-{at:%H%M%S}.log")

    def runs(self, name):
        return name in self.elsewhere

    def exit_code_of(self, log):
        return self.exit_codes.get(log)

    async def start(self, name, arguments, *, folder, log, run_id):
        if self.problem:
            raise CostctlError(self.problem)
        if name in self.elsewhere:
            return None
        self.elsewhere.add(name)
        command = FakeCommand(arguments, log, heeds=self.heeds)
        command.ended.add_done_callback(lambda _: self.elsewhere.discard(name))
        self.started.append(command)
        return command
