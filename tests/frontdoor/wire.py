"""HTTP byte by byte, and waiting with a bound."""

import asyncio
import json
import time

PATIENCE_S = 10
STEP_S = 0.005
CHAT = "/v1/chat/completions"


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
