"""A runner with fakes around it: a daemon that answers as a script says, and a book in memory."""

import asyncio
import random
from collections import Counter, defaultdict

from fakes.clock import FakeClock, settle

from costctl.batch.lease import Told
from costctl.batch.pace import Limits
from costctl.batch.results import Failure, Result
from costctl.batch.runner import Runner, Work
from costctl.batch.sender import Answer
from costctl.batch.tally import Tally
from costctl.batch.values import Form, Job

BODY = b'{"id":"x","usage":{"prompt_tokens":3,"total_tokens":8,"completion_tokens":5}}'


def ok():
    return Answer(result=Result(status_code=200, body=BODY))


def status(code, *, retry_after_s=0.0):
    return Answer(result=Result(status_code=code, body=b"{}"), retry_after_s=retry_after_s)


def job(line, body=b"{}"):
    return Job(line=line, custom_id=f"c{line}", path="/v1/chat/completions", body=body, model="m", form=Form.PROMPT)


class Post:
    """Answers line after line what its script says, after some time."""

    def __init__(self, clock, script, takes_s):
        self.clock, self.script, self.takes_s = clock, script, takes_s
        self.sent = Counter()
        self.sent_at = defaultdict(list)
        self.in_flight = self.most_in_flight = 0

    async def send(self, job):
        self.sent[job.line] += 1
        self.sent_at[job.line].append(self.clock.monotonic())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.clock.sleep(self.takes_s)
            found = self.script(job.line, self.sent[job.line])
        finally:
            self.in_flight -= 1
        if isinstance(found, Exception):
            raise found
        return found


class Book:
    """Keeps results; `fault` is raised by the next sync."""

    def __init__(self):
        self.results = {}
        self.copies = {}
        self.pending_count = 0
        self.fault = None

    def is_done(self, line):
        return line in self.results

    def record(self, line, custom_id, outcome):
        assert custom_id == f"c{line}"
        assert line not in self.results
        self.results[line] = outcome
        self.pending_count += 1

    def copy(self, line, custom_id, *, of):
        self.record(line, custom_id, self.results[of])
        self.copies[line] = of

    def sync(self):
        if self.fault is not None:
            raise self.fault
        self.pending_count = 0

    def outcome(self, line):
        """The status, or the code of a failure."""
        found = self.results[line]
        return found.code if isinstance(found, Failure) else found.status_code


class Bench:
    """One run of a batch on a clock that stands still."""

    def __init__(self, lines, script=lambda line, time: ok(), *, takes_s=1.0, repeats=None, first=4):
        self.clock = FakeClock()
        self.post = Post(self.clock, script, takes_s)
        self.book = Book()
        self.tally = Tally()
        self.read = 0
        self.lines = lines
        repeats = repeats or {}
        self.runner = Runner(
            work=Work(jobs=self._jobs, first_line=lambda line: repeats.get(line, line), has_repeats=bool(repeats)),
            book=self.book,
            post=self.post,
            tally=self.tally,
            clock=self.clock,
            chance=random.Random(1),
            limits=Limits(first=first, most=64),
        )

    def _jobs(self, wanted):
        for line in range(1, self.lines + 1):
            if wanted(line):
                self.read += 1
                yield job(line)

    def start(self, *, patience_s=5.0):
        self.task = asyncio.create_task(self.runner.run(patience_s=patience_s))
        self.hear()
        return self.task

    def hear(self, **told):
        self.runner.heard(Told(**({"state": "running", "engine": "ready"} | told)))

    async def over(self, *, within_s=3600.0):
        await self.clock.advance(within_s)
        await settle()
        assert self.task.done()
        await self.task
