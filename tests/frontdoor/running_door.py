"""A front door on a real port, in this process, before an engine that each test scripts byte by byte."""

import asyncio
import json
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import aiohttp
from fakes.batch_commands import FakeBatchCommands

from costctl.adapters.clock import SystemClock
from costctl.adapters.file_store import FolderStore
from costctl.daemon.frontdoor.door import FrontDoor
from costctl.daemon.frontdoor.keys import ApiKeys
from costctl.daemon.frontdoor.listener import Listener
from costctl.daemon.frontdoor.own import OwnRoutes
from costctl.daemon.frontdoor.stored import StoredRoutes
from costctl.daemon.http_batches import HttpBatches
from costctl.daemon.stored_batches import StoredBatches
from costctl.daemon.stored_files import StoredFiles
from costctl.daemon.supervisor import Supervisor
from costctl.domain import lifecycle as life
from costctl.domain.engines import Endpoint, LaunchPlan
from costctl.domain.policy import IdlePolicy

PATIENCE_S = 10
STEP_S = 0.005
MODEL = "Qwen/Qwen3-1.7B"
CHAT = "/v1/chat/completions"
QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


async def until(condition, what):
    """Return the first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if value := condition():
            return value
        await asyncio.sleep(STEP_S)
    raise AssertionError(f"waited {PATIENCE_S} s for {what}")


async def soon(awaitable):
    """Await with a bound, so that a hang is a failure and not a stuck run."""
    return await asyncio.wait_for(awaitable, PATIENCE_S)


class RealClock:
    """Only what the supervisor asks of a clock."""

    monotonic = staticmethod(time.monotonic)


class ScriptedRun:
    """A run whose process exists in the test's mind only; it is where `plan` says."""

    def __init__(self, plan, report):
        self.plan = plan
        self.usual_s = None
        self.tail = ["Traceback (most recent call last):", "ValueError: these were its last words"]
        self.ready_at = None
        self._report = report
        self._answered, self._over = asyncio.Event(), asyncio.Event()

    def begin(self):
        """There is nothing to plan."""

    async def live(self):
        ready, over = asyncio.create_task(self._answered.wait()), asyncio.create_task(self._over.wait())
        await asyncio.wait({ready, over}, return_when=asyncio.FIRST_COMPLETED)
        if self._answered.is_set():
            self.ready_at = time.monotonic()
            self._report(life.EngineAnswered())
        await over
        ready.cancel()
        self._report(life.EngineGone())

    def get_ready(self):
        self._answered.set()

    def break_down(self, reason):
        self._report(life.EngineBroke(reason))

    def end(self, *, drained):
        if drained:
            self._over.set()

    def kill(self):
        self._over.set()

    def remaining_s(self):
        return self.usual_s


class Served:
    """The book: which models' requests were answered."""

    def __init__(self):
        self.models = []

    def request_served(self, model):
        self.models.append(model)


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
        self.runs = HttpBatches(files=self.files, batches=self.batches, commands=self.commands, clock=clock)
        routes = StoredRoutes(files=self.files, batches=self.batches, runs=self.runs, patience_s=patience_s)
        self.answer = routes.answer

    async def close(self):
        for command in self.commands.started:
            command.end()
        await self.runs.close()
        self._folder.cleanup()


class Door:
    """Everything around one front door."""

    def __init__(
        self,
        plan,
        *,
        most_waiting=4096,
        most_body=2**22,
        keys=(),
        warm=True,
        limits=None,
        heads=None,
        shelf=None,
        cache=None,
    ):
        self.plan, self.warm, self.shelf = plan, warm, shelf
        self.runs = []
        self.served = Served()
        policy = IdlePolicy(window_s=60, grace_s=1, unreadable_cap_s=60)
        self.supervisor = Supervisor(clock=RealClock(), new_run=self._new_run, policy=policy, most_waiting=most_waiting)
        own = OwnRoutes(supervisor=self.supervisor, model=MODEL, started_at=1)
        self.door = FrontDoor(
            supervisor=self.supervisor,
            keys=ApiKeys(keys),
            book=self.served,
            own=own.answer,
            stored=self._stored,
            most_body=most_body,
            cache=cache,
            **(limits or {}),
        )
        self.listener = Listener(self.door.handle, **(heads or {}))
        self.port = 0

    async def _stored(self, request):
        return await self.shelf.answer(request)

    def _new_run(self, report):
        run = ScriptedRun(self.plan, report)
        self.runs.append(run)
        if self.warm:
            run.get_ready()
        return run

    @property
    def state(self):
        return self.supervisor.lifecycle

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def open(self):
        await self.listener.start("127.0.0.1", 0)
        self.port = self.listener.port

    async def start_engine(self):
        self.supervisor.start()
        await self.supervisor.settled()

    async def close(self):
        await self.listener.stop(0.2)
        await self.door.close()
        await self.supervisor.abandon()

    async def quiet(self):
        """Return when no request is with the engine or waits for it."""
        await until(lambda: not (self.state.in_flight or self.state.waiting), f"nothing in flight: {self.state}")

    @asynccontextmanager
    async def raw(self):
        """A connection to write bytes to."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        wire = Wire(reader, writer)
        try:
            yield wire
        finally:
            wire.leave()

    def session(self, **options):
        return aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(total=PATIENCE_S), **options)


class Wire:
    """One connection, byte by byte."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, *parts):
        for part in parts:
            self.writer.write(part.encode() if isinstance(part, str) else part)

    def post(self, body=b"{}", *, path=CHAT, headers=()):
        """Send a whole POST in one write."""
        self.send(head("POST", path, (f"Content-Length: {len(body)}", *headers)) + body)

    async def answer(self, *, method="POST"):
        """Return the next whole answer."""
        return await soon(read_message(self.reader, has_body=method != "HEAD"))

    async def ended(self):
        """Return what is left when the other side has closed."""
        try:
            return await soon(self.reader.read(-1))
        except ConnectionResetError:
            return b""

    def leave(self):
        """Be gone at once, with a reset."""
        self.writer.transport.abort()


class Message:
    """A request's or an answer's head and body."""

    def __init__(self, start, headers, body=b""):
        self.start, self.headers, self.body = start, headers, body

    @property
    def status(self):
        return int(self.start.split(" ")[1])

    @property
    def path(self):
        return self.start.split(" ")[1]

    def get(self, name):
        """The values of a header, joined."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error in OpenAI's shape."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert 'File "' not in error["message"]
        assert self.get("Content-Type").startswith("application/json")
        return error


def head(method, path, headers=(), *, version="1.1"):
    lines = [f"{method} {path} HTTP/{version}", "Host: door", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


async def read_head(reader):
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = text[:-4].split("\r\n")
    return Message(start, [tuple(part.strip() for part in line.split(":", 1)) for line in lines])


async def read_chunk(reader):
    """One chunk of a chunked body; empty at the end."""
    size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
    data = await reader.readexactly(size)
    await reader.readexactly(2)
    return data


async def read_body(reader, message, *, until_close):
    if "chunked" in (message.get("Transfer-Encoding") or ""):
        parts = []
        while part := await read_chunk(reader):
            parts.append(part)
        return b"".join(parts)
    length = message.get("Content-Length")
    if length is not None:
        return await reader.readexactly(int(length))
    return await reader.read(-1) if until_close else b""


async def read_message(reader, *, has_body=True):
    message = await read_head(reader)
    if has_body and message.status not in (100, 204, 304):
        message.body = await read_body(reader, message, until_close=True)
    return message


class Exchange:
    """One request as the engine has it, and the means to answer it."""

    def __init__(self, upstream, request, reader, writer):
        self.upstream, self.request = upstream, request
        self.reader, self.writer = reader, writer

    async def body(self):
        self.request.body = await read_body(self.reader, self.request, until_close=False)
        return self.request.body

    def send(self, *parts):
        for part in parts:
            self.writer.write(part if isinstance(part, bytes) else part.encode())

    def answer(self, body=b'{"ok":true}', *, status="200 OK", headers=("Content-Type: application/json",)):
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def begin_stream(self, *headers, kind="text/event-stream"):
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", "Transfer-Encoding: chunked", *headers, "", ""]
        self.send("\r\n".join(lines))

    def chunk(self, data):
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end_stream(self):
        self.send(b"0\r\n\r\n")

    async def left(self):
        """Return when the other side has closed."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.reader.read(-1)

    def die(self):
        self.writer.transport.abort()


async def obliging(exchange):
    """The script of a healthy engine."""
    await exchange.body()
    exchange.answer()


class ScriptedEngine:
    """Listens on a Unix socket and does with each request what the test's script says."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="door")
        self.uds = str(Path(self.folder.name) / "s")
        self.script = obliging
        self.requests = []
        self.connections = 0
        self.failures = []
        self._tasks = set()

    async def listen(self):
        self._server = await asyncio.start_unix_server(self._serve, self.uds, backlog=4096)

    def plan(self, *, api_key=None):
        return LaunchPlan(kind="sim", model=MODEL, argv=("sim",), endpoint=Endpoint(uds=self.uds), api_key=api_key)

    async def _serve(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while True:
                request = await read_head(reader)
                self.requests.append(request)
                await self.script(Exchange(self, request, reader, writer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side has closed
        except Exception as error:
            self.failures.append(error)
            raise
        finally:
            writer.close()
            self._tasks.discard(task)

    async def close(self):
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.folder.cleanup()
