"""Copies of answers: taken while they pass to their clients, and sent again later."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from costctl.domain.stored_answers import StoredAnswer

CACHE_HEADER = "X-Costctl-Cache"
LARGEST_ANSWER = 4 * 2**20
"""In bytes; a longer one is passed on, and not kept."""
_COPIES_TOTAL = 64 * 2**20
_OK = 200
_LAST_EVENT = b"data: [DONE]\n\n"


class Copies:
    """What all copies that are being taken or stored hold together."""

    def __init__(self, most: int = _COPIES_TOTAL) -> None:
        self._most = most
        self._taken = 0

    @property
    def are_too_many(self) -> bool:
        """Whether one has to be given up."""
        return self._taken > self._most

    def take(self, size: int) -> None:
        """Count `size` bytes more."""
        self._taken += size

    def give_back(self, size: int) -> None:
        """Count `size` bytes less."""
        self._taken -= size


class Copy:
    """What is kept of one answer while it passes (the data path's `Tee`); `keep` gets its type and chunks."""

    def __init__(self, copies: Copies, keep: Callable[[str, Sequence[bytes]], None]) -> None:
        self.headers = {CACHE_HEADER: "miss"}
        self._copies = copies
        self._keep = keep
        self._content_type: str | None = None
        self._chunks: list[bytes] = []
        self._size = 0

    def begin(self, status: int, content_type: str, encoding: str | None) -> None:
        """Take in the head: only good answers that are not compressed are kept."""
        if status == _OK and encoding is None:
            self._content_type = content_type

    def add(self, chunk: bytes) -> None:
        """Take in a part of the answer."""
        if self._content_type is None:
            return
        self._size += len(chunk)
        self._copies.take(len(chunk))
        self._chunks.append(chunk)
        if self._size > LARGEST_ANSWER or self._copies.are_too_many:
            self._forget()

    def end(self) -> None:
        """Keep the answer: it has come to its end."""
        if self._content_type is not None:
            self._keep(self._content_type, self._chunks)
        self._forget()

    def close(self) -> None:
        """Forget what came of an answer without an end; but a client that left at the last event has had them all."""
        if self._chunks and self._chunks[-1].endswith(_LAST_EVENT):
            self.end()
        self._forget()

    def _forget(self) -> None:
        self._copies.give_back(self._size)
        self._content_type, self._chunks, self._size = None, [], 0


async def replay(request: web.BaseRequest, answer: StoredAnswer) -> web.StreamResponse:
    """Send a stored answer: a stream as a stream, chunk by chunk."""
    headers = {"Content-Type": answer.content_type, CACHE_HEADER: "hit"}
    if not answer.is_stream:
        return web.Response(body=b"".join(answer.chunks), headers=headers)
    response = web.StreamResponse(headers=headers | {"X-Accel-Buffering": "no"})
    with suppress(ConnectionResetError):  # the client has left
        await response.prepare(request)
        for chunk in answer.chunks:
            await response.write(chunk)
        await response.write_eof()
    return response
