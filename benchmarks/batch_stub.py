"""An engine that answers at once: what `costctl batch` takes by itself. `python batch_stub.py --uds PATH`.

It reads each request whole and answers with the same chat completion every time; its counters say that nothing waits.
"""

from __future__ import annotations

import argparse
import asyncio
import json

import uvloop

_MESSAGE = {"role": "assistant", "content": "An answer of a few words, as a classifier or an extractor gives it."}
_ANSWER = {
    "id": "chatcmpl-0123456789abcdef0123456789abcdef",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "stub",
    "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 24, "total_tokens": 40, "completion_tokens": 16},
}
_METRICS = """\
vllm:num_requests_running{model_name="stub"} %d
vllm:num_requests_waiting{model_name="stub"} 0
vllm:prompt_tokens_total{model_name="stub"} %d
vllm:generation_tokens_total{model_name="stub"} %d
"""


def _response(body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


_COMPLETION = _response(json.dumps(_ANSWER).encode())
_HEALTH = _response(b"")


class Stub(asyncio.Protocol):
    """One connection."""

    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            total = end + 4 + _content_length(head)
            if len(self._buffer) < total:
                return
            self._buffer = self._buffer[total:]
            self._transport.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"POST "):
            Stub.answered += 1
            return _COMPLETION
        if head.startswith(b"GET /metrics "):
            done = Stub.answered
            return _response((_METRICS % (1, 24 * done, 16 * done)).encode(), b"text/plain; version=0.0.4")
        return _HEALTH


def _content_length(head: bytes) -> int:
    _, name, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if name else 0


async def _serve(uds: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Stub, uds)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uds", required=True)
    uvloop.run(_serve(parser.parse_args().uds))
