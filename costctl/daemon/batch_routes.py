"""Batches over the control socket.

A lease is one long request, `POST /batches`: its body is what the client tells (first the wish, then its progress, at
last that it is through), its answer is what the daemon tells (queued or running, how the engine is, the cost so far).
Both are one JSON object a line. When the connection ends, so does the lease, however the client came to its end.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from costctl.daemon.frontdoor import answers
from costctl.daemon.supervisor import Refusal
from costctl.domain.batches import read_progress, read_wish
from costctl.errors import BadValueError, RefusedError
from costctl.waiting import done_within

if TYPE_CHECKING:
    from costctl.daemon.batches import Batches, OpenLease
    from costctl.daemon.pulse import Pulse
    from costctl.ports import Clock

logger = logging.getLogger(__name__)

_MOST_DIGITS = 18
_TELL_FIRST_S, _TELL_EVERY_S, _SLOWER = 0.1, 1.0, 1.25
"""At first often, for the client's pace to be found; then as often as the engine's counters may be read."""
_LAST_WORDS_S = 30.0
"""How long a client whose batch was cancelled may take for its last words."""


class BatchRoutes:
    """Serves leases, their list, and their cancellation."""

    def __init__(self, *, batches: Batches, pulse: Pulse, clock: Clock) -> None:
        self._batches = batches
        self._pulse = pulse
        self._clock = clock

    async def list(self, _: web.BaseRequest) -> web.Response:
        """Answer with all batches."""
        return web.json_response({"batches": self._batches.read()})

    async def cancel(self, _: web.BaseRequest, number: str) -> web.Response:
        """Cancel one batch."""
        if number.isdecimal() and len(number) <= _MOST_DIGITS and self._batches.cancel(int(number)):
            return web.json_response({"cancelled": int(number)})
        return answers.error(404, f"there is no batch {number}", "batch_not_found")

    async def lease(self, request: web.BaseRequest) -> web.StreamResponse:
        """Hold a lease for as long as the connection lasts."""
        try:
            opened = self._batches.ask(read_wish(_read(await _next_line(request))))
        except Refusal as refusal:
            return answers.refused(refusal)
        except BadValueError as error:
            return answers.error(400, str(error), "bad_batch", close=True)
        except RefusedError as error:
            return answers.error(409, str(error), "refused", close=True)
        hearing = asyncio.create_task(self._hear(request, opened))
        try:
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            await self._tell(response, opened, hearing)
        finally:
            hearing.cancel()
            self._batches.end(opened)
        await self._tell_end(response, opened, hearing)
        return response

    async def _hear(self, request: web.BaseRequest, opened: OpenLease) -> bool:
        """Take in the client's progress until it is through or gone; return whether to do what it wished for then.

        Raises:
            BadValueError: it talks nonsense.
        """
        with suppress(OSError):  # it is gone
            while line := await _next_line(request):
                told = _read(line)
                self._batches.progressed(opened, read_progress(told))
                if told.get("through"):
                    opened.is_complete = bool(told.get("complete"))
                    return bool(told.get("then"))
        return False

    async def _tell(self, response: web.StreamResponse, opened: OpenLease, hearing: asyncio.Task[bool]) -> None:
        pause_s = _TELL_FIRST_S
        while not hearing.done():
            opened.changed.clear()
            self._batches.look(opened)
            await _write(response, await self._state(opened))
            if opened.cancelled is not None:
                await done_within(self._clock, hearing, _LAST_WORDS_S)
                return
            await self._until_news(opened, hearing, pause_s)
            pause_s = min(_TELL_EVERY_S, pause_s * _SLOWER)

    async def _tell_end(self, response: web.StreamResponse, opened: OpenLease, hearing: asyncio.Task[bool]) -> None:
        """Tell a client that is still there what is done now, or why it holds its lease no longer."""
        if not hearing.done() or hearing.cancelled():
            return
        if (error := hearing.exception()) is not None:
            name = opened.lease.wish.name
            logger.warning("batch %d (%s): its client talks nonsense: %s", opened.lease.number, name, error)
            await _write(response, {"id": opened.lease.number, "state": "cancelled", "reason": str(error)})
        elif hearing.result():
            await _write(response, {"state": "ended", "then": self._batches.carry_out(opened.lease.wish)})

    async def _until_news(self, opened: OpenLease, hearing: asyncio.Task[bool], pause_s: float) -> None:
        timer = asyncio.ensure_future(self._clock.sleep(pause_s))
        changed = asyncio.create_task(opened.changed.wait())
        try:
            await asyncio.wait({timer, changed, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            changed.cancel()

    async def _state(self, opened: OpenLease) -> dict[str, Any]:
        number = opened.lease.number
        if opened.cancelled is not None:
            return {"id": number, "state": "cancelled", "reason": opened.cancelled}
        if opened.began is None:
            return {"id": number, "state": "queued", "place": self._batches.place(opened)}
        return {"id": number, "state": "running", **await self._pulse.take(opened.began)}


async def _next_line(request: web.BaseRequest) -> bytes:
    try:
        return await request.content.readline()
    except (ValueError, HttpProcessingError):
        raise BadValueError("this line is too long") from None


def _read(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        raise BadValueError("this line is not JSON") from None
    if not isinstance(told, dict):
        raise BadValueError("this line is not a JSON object")
    return told


async def _write(response: web.StreamResponse, told: dict[str, Any]) -> None:
    await response.write(json.dumps(told).encode() + b"\n")
