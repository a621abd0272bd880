"""An engine that each test scripts byte by byte."""

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path

from wire import read_body, read_head

from costctl.domain.engines import Endpoint, LaunchPlan

MODEL = "Qwen/Qwen3-1.7B"


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
