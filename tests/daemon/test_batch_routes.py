"""Leases over the control socket: what a client may say, and what becomes of one that talks nonsense."""

import asyncio
import json

import aiohttp
import pytest

from costctl.daemon.batch_routes import BatchRoutes
from costctl.daemon.control import bind_private
from costctl.daemon.frontdoor.listener import Listener

WISH = {"name": "jobs", "lines": 3}
PROGRESS = {"requests": 1, "failed": 0, "prompt_tokens": 2, "generation_tokens": 3}
PATIENCE_S, STEP_S = 10, 0.005


class Pulse:
    """An engine at rest."""

    async def take(self, since):
        return {"engine": "off"}


class Socket:
    """The routes on a socket, and connections to it."""

    def __init__(self, bench, path):
        self.bench, self.path = bench, path
        self.routes = BatchRoutes(batches=bench.batches, pulse=Pulse(), clock=bench.clock)
        self.listener = Listener(self._answer)

    async def _answer(self, request):
        match request.method, request.path.split("/")[1:]:
            case "POST", ["batches"]:
                return await self.routes.lease(request)
            case "POST", ["batches", number, "cancel"]:
                return await self.routes.cancel(request, number)
            case _:
                return await self.routes.list(request)

    def session(self):
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        return aiohttp.ClientSession("http://x", connector=aiohttp.UnixConnector(str(self.path)), timeout=timeout)

    async def ask(self, *said):
        """Say all of it, then nothing more; return the status and what is told."""
        async with self.session() as client, client.post("/batches", data=_lines(said)) as answer:
            return answer.status, [json.loads(line) for line in (await answer.read()).splitlines()]

    async def ended(self):
        """Return when nobody holds a lease, with the rows of what was worked on."""
        await until(lambda: not self.bench.batches.read())
        assert self.bench.writer.flush(PATIENCE_S)
        return self.bench.ledger.batches(self.bench.opening.session_id)


async def until(condition):
    for _ in range(round(PATIENCE_S / STEP_S)):
        if condition():
            return
        await asyncio.sleep(STEP_S)
    raise AssertionError(condition)


async def _lines(said):
    for each in said:
        yield (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n"


@pytest.fixture
async def control(bench, tmp_path):
    made = Socket(bench, tmp_path / "s")
    await made.listener.start_on(bind_private(made.path))
    yield made
    await made.listener.stop(0.1)


async def test_a_lease_tells_how_it_stands_and_ends_when_its_client_is_through(control):
    last = {**PROGRESS, "requests": 3, "through": True, "complete": True, "then": True}
    status, told = await control.ask(WISH, PROGRESS, last)
    assert (status, told[0]) == (200, {"id": 1, "state": "running", "engine": "off"})
    assert told[-1] == {"state": "ended", "then": ""}
    assert [(row.name, row.requests, row.outcome) for row in await control.ended()] == [("jobs", 3, "done")]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (b"", "not JSON"),
        (b"nonsense", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 20_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "name"),
        ({**WISH, "lines": "many"}, "lines"),
        (b'{"name": "jobs", "lines": Infinity}', "lines"),
        (b'{"name": "jobs", "lines": 3, "timeout_s": NaN}', "timeout_s"),
        ({**WISH, "then": "explode"}, "nothing, unload, shutdown"),
        ({**WISH, "name": "x" * 2**20}, "too long"),
    ],
)
async def test_a_wish_that_is_none_is_refused_in_words_and_leaves_nothing(control, said, word):
    status, (answer,) = await control.ask(said)
    assert (status, answer["error"]["code"]) == (400, "bad_batch")
    assert word in answer["error"]["message"]
    assert await control.ended() == []


async def test_a_wish_that_this_daemon_does_not_do_is_refused(control):
    control.bench.batches._shut_down = None
    status, (answer,) = await control.ask({**WISH, "then": "shutdown"})
    assert (status, answer["error"]["code"]) == (409, "refused")


@pytest.mark.parametrize(
    "said", [b"nonsense", b"[]", {**PROGRESS, "requests": 0}, {"requests": 5}, {**PROGRESS, "failed": 9}, b" " * 2**20]
)
async def test_a_client_that_talks_nonsense_loses_its_lease_and_hears_why(control, caplog, said):
    _, told = await control.ask(WISH, PROGRESS, said, {**PROGRESS, "requests": 2})
    assert (told[-1]["state"], bool(told[-1]["reason"])) == ("cancelled", True)
    assert "talks nonsense" in caplog.text
    assert [(row.requests, row.outcome) for row in await control.ended()] == [(1, "interrupted")]


async def test_a_client_that_is_gone_holds_no_lease(control):
    _, writer = await asyncio.open_unix_connection(str(control.path))
    writer.write(b"POST /batches HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    line = json.dumps(WISH).encode() + b"\n"
    writer.write(b"%x\r\n%b\r\n" % (len(line), line))
    await until(control.bench.batches.read)
    writer.transport.abort()
    assert [row.outcome for row in await control.ended()] == ["interrupted"]


@pytest.mark.parametrize("number", ["1", "x", "-1", "%C2%B2", "9" * 5000])
async def test_what_is_not_there_cannot_be_cancelled(control, number):
    async with control.session() as client, client.post(f"/batches/{number}/cancel") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "batch_not_found")
