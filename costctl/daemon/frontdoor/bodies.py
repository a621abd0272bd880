"""Clients' bodies: read within bounds of size, time and memory, the small ones before the engine is troubled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

BUFFERED_BODY = 2**20
"""Bodies up to this size are read before the engine is troubled, so that a slow client cannot wake or hold it."""
BUFFERED_TOTAL = 256 * 2**20
_SLOWEST_BYTES_PER_S = 1024


@dataclass(eq=False, slots=True)
class BodyError(Exception):
    """A body that is not passed on: how to answer."""

    status: int
    message: str
    code: str
    retry_after_s: float | None = None


class Memory:
    """What the bodies that are being held here take together."""

    def __init__(self, most: int = BUFFERED_TOTAL) -> None:
        self._most = most
        self.taken = 0

    def take(self, size: int) -> None:
        """Make room for `size` bytes more.

        Raises:
            BodyError: there is none.
        """
        if self.taken + size > self._most:
            raise BodyError(503, "too many large requests are waiting", "queue_full", retry_after_s=1.0)
        self.taken += size

    def give_back(self, size: int) -> None:
        """Let `size` bytes go."""
        self.taken -= size


class Body:
    """One request's body, read once, from its start to its end.

    Iterating over it yields what `read_start` has left; `failure` then says why it broke off, since whoever iterates
    (aiohttp's client) turns every error into one of its own.
    """

    def __init__(self, request: web.BaseRequest, *, most: int, patience_s: float, memory: Memory) -> None:
        self._request = request
        self._content = request.content
        self._most = most
        self._patience_s = patience_s
        self._memory = memory
        self._start = b""
        self._size = 0
        self._held = 0
        self._waited_s = 0.0
        self.failure: BodyError | None = None

    async def read_start(self) -> bytes | None:
        """Return the whole body if it is small, None if it is not: then iterate.

        Raises:
            BodyError: it is too large or too slow, or not what its framing promises.
        """
        parts: list[bytes] = []
        while self._size <= BUFFERED_BODY:
            part = await self._part()
            if not part:
                return b"".join(parts)
            self._memory.take(len(part))
            self._held += len(part)
            parts.append(part)
        self._start = b"".join(parts)
        return None

    def let_go(self) -> None:
        """Give back the memory that the start took."""
        self._memory.give_back(self._held)
        self._held = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        start, self._start = self._start, b""
        yield start
        del start
        self.let_go()
        try:
            while part := await self._part():
                yield part
        except BodyError as failure:
            self.failure = failure
            raise

    async def _part(self) -> bytes:
        """Return the next piece, nothing at the end."""
        if self._content.is_eof():
            part = self._content.read_nowait()
        else:
            part = await self._wait_for_part()
        if not part and (fault := getattr(self._request.protocol, "body_fault", None)):
            raise BodyError(400, f"the body of the request cannot be read: {fault}", "bad_request")
        self._size += len(part)
        if self._size > self._most:
            raise too_large(self._most)
        return part

    async def _wait_for_part(self) -> bytes:
        """Wait at most for the client's share of patience: it grows with what came, not with what the engine took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        patience_s = min(self._patience_s, self._patience_s + self._size / _SLOWEST_BYTES_PER_S - self._waited_s)
        try:
            async with asyncio.timeout(patience_s):
                return await self._content.readany()
        except TimeoutError:
            raise BodyError(408, "the body of the request came too slowly", "slow_body") from None
        finally:
            self._waited_s += loop.time() - began


def too_large(most: int) -> BodyError:
    """Return the error for a body of more than `most` bytes."""
    return BodyError(413, f"the body of the request is larger than {most} bytes (--max-body)", "body_too_large")
