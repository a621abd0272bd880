import asyncio
import os
import socket

import pytest
from aiohttp import web

from costctl.adapters.engines.api import HttpEngineApi
from costctl.domain.engines import Counters, Endpoint, LaunchPlan
from costctl.errors import EngineUnreadableError

METRICS = b"vllm:num_requests_running 2\nvllm:prompt_tokens_total 30\nvllm:generation_tokens_total 4\n"


class Server:
    """A model server that answers as a test wants."""

    def __init__(self):
        self.health = 200
        self.metrics = 200
        self.completion = 200
        self.text = METRICS
        self.slow = False
        self.hurry = asyncio.Event()
        self.seen = []

    def app(self):
        app = web.Application()
        app.router.add_get("/health", self._answer)
        app.router.add_get("/metrics", self._answer)
        app.router.add_post("/v1/completions", self._answer)
        return app

    async def _answer(self, request):
        status = {"/health": self.health, "/metrics": self.metrics}.get(request.path, self.completion)
        body = await request.json() if request.can_read_body else None
        self.seen.append((request.path, request.headers.get("Authorization"), body))
        if self.slow:
            await self.hurry.wait()
        return web.Response(status=status, body=self.text)


@pytest.fixture
def server():
    return Server()


@pytest.fixture(params=["socket", "port"])
async def endpoint(request, server, tmp_path):
    runner = web.AppRunner(server.app())
    await runner.setup()
    if request.param == "socket":
        found = Endpoint(uds=str(tmp_path / "e.sock"))
        await web.UnixSite(runner, found.uds).start()
    else:
        listening = socket.create_server(("127.0.0.1", 0))
        found = Endpoint(port=listening.getsockname()[1])
        await web.SockSite(runner, listening).start()
    yield found
    server.hurry.set()
    await runner.cleanup()


@pytest.fixture
async def connect():
    opened = []

    def make(endpoint, **facts):
        opened.append(HttpEngineApi(LaunchPlan(kind="t", model="tiny", argv=("x",), endpoint=endpoint, **facts)))
        return opened[-1]

    yield make
    for api in opened:
        await api.close()


async def test_a_healthy_engine_is_one_that_says_200(server, endpoint, connect):
    api = connect(endpoint)
    assert await api.healthy() is True
    server.health = 503
    assert await api.healthy() is False


async def test_who_listens_is_known_from_the_kernel(endpoint, connect):
    api = connect(endpoint)
    assert (await api.listening_pid(), await api.reachable()) == (os.getpid(), True)


async def test_a_real_answer_is_anything_but_a_servers_error(server, endpoint, connect):
    api = connect(endpoint)
    for status, expected in ((200, True), (400, True), (404, True), (500, False), (503, False)):
        server.completion = status
        assert await api.generates(5.0) is expected
    assert server.seen[0][2] == {"model": "tiny", "prompt": "Hi", "max_tokens": 1, "temperature": 0}


async def test_an_answer_that_takes_too_long_is_none(server, endpoint, connect):
    server.slow = True
    assert await connect(endpoint).generates(0.02) is False


async def test_counters_are_read_and_an_engine_without_them_has_none(server, endpoint, connect):
    api = connect(endpoint)
    assert await api.counters() == Counters(running=2, waiting=0, prompt_tokens=30, generation_tokens=4)
    server.metrics = 404
    assert await api.counters() is None


async def test_metrics_that_are_no_text_are_no_counters(server, endpoint, connect):
    server.text = b"\xff\xfe\x00garbage"
    assert await connect(endpoint).counters() is None


async def test_counters_that_an_engine_cannot_give_are_unreadable(server, endpoint, connect):
    server.metrics = 500
    with pytest.raises(EngineUnreadableError, match="no metrics from the engine: HTTP 500"):
        await connect(endpoint).counters()


async def test_an_engine_with_a_key_is_asked_with_it(server, endpoint, connect):
    await connect(endpoint, api_key="secret").healthy()
    await connect(endpoint).healthy()
    assert [seen[1] for seen in server.seen] == ["Bearer secret", None]


@pytest.fixture(params=["socket", "port"])
def nobody(request, tmp_path):
    """An endpoint where nobody listens."""
    if request.param == "socket":
        return Endpoint(uds=str(tmp_path / "none.sock"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return Endpoint(port=probe.getsockname()[1])


async def test_where_nobody_listens_nothing_is_true_and_no_question_hangs(nobody, connect):
    api = connect(nobody)
    assert await api.healthy() is False
    assert await api.reachable() is False
    assert await api.generates(1.0) is False
    assert await api.listening_pid() is None
    with pytest.raises(EngineUnreadableError, match="no metrics from the engine: "):
        await api.counters()


async def test_a_server_that_speaks_no_http_is_neither_healthy_nor_readable(connect):
    async def babble(_, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        api = connect(Endpoint(port=server.sockets[0].getsockname()[1]))
        assert (await api.healthy(), await api.generates(1.0), await api.reachable()) == (False, False, True)
        with pytest.raises(EngineUnreadableError):
            await api.counters()
