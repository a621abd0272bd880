"""WebSockets: passed on both ways, and in flight only while something is said."""

import asyncio
import base64

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from wire import head, soon, until
from yarl import URL

from costctl.domain.engines import Endpoint, LaunchPlan

PATH = "/v1/realtime?model=m&x=%2F"


class SocketEngine:
    """An engine with one WebSocket route that echoes, closes or dies as it is told."""

    def __init__(self, folder):
        self.uds = str(folder / "s")
        self.heads, self.closed = [], asyncio.Queue()
        self.sockets = []
        self.refusal = None

    async def listen(self):
        app = web.Application()
        app.router.add_get("/v1/realtime", self._serve)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.UnixSite(self.runner, self.uds).start()

    def plan(self):
        return LaunchPlan(kind="sim", model="m", argv=("x",), endpoint=Endpoint(uds=self.uds), api_key="engine-secret")

    async def _serve(self, request):
        self.heads.append(request)
        if self.refusal:
            return web.json_response({"error": "no"}, status=self.refusal)
        socket = web.WebSocketResponse(protocols=("realtime",), max_msg_size=0)
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data == "die":
                request.transport.abort()
            elif message.type is WSMsgType.TEXT and message.data == "close":
                await socket.close(code=4321, message=b"enough")
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        self.closed.put_nowait(socket.close_code)
        return socket


@pytest.fixture
async def engine(tmp_path_factory):
    engine = SocketEngine(tmp_path_factory.mktemp("s"))
    await engine.listen()
    yield engine
    await engine.runner.cleanup()


@pytest.fixture
async def door(open_plan, engine):
    return await open_plan(engine.plan(), limits={"quiet_after_s": 0.1})


async def test_messages_pass_both_ways_and_the_end_leaves_nothing(door, engine):
    async with door.session() as session:
        async with session.ws_connect(
            URL(door.url + PATH, encoded=True), protocols=("realtime",), headers={"X-Own": "1"}
        ) as socket:
            assert socket.protocol == "realtime"
            assert door.state.in_flight == 1
            await socket.send_str("hello")
            assert await soon(socket.receive_str()) == "hello"
            await socket.send_bytes(bytes(range(256)) * 8192)
            assert await soon(socket.receive_bytes()) == bytes(range(256)) * 8192
        assert await soon(engine.closed.get()) == 1000
        await door.quiet()
    (request,) = engine.heads
    assert request.raw_path == PATH
    assert request.headers["Authorization"] == "Bearer engine-secret"
    assert request.headers["X-Own"] == "1"
    assert request.headers.getall("Sec-WebSocket-Key")
    assert len(request.headers.getall("Sec-WebSocket-Key")) == 1


async def test_a_quiet_socket_is_not_in_flight_until_it_speaks_again(door, engine):
    async with door.session() as session, session.ws_connect(PATH) as socket:
        assert door.state.in_flight == 1
        await until(lambda: door.state.in_flight == 0, "it to count as quiet")
        await engine.sockets[0].send_str("from the engine")
        assert await soon(socket.receive_str()) == "from the engine"
        assert door.state.in_flight == 1
        await until(lambda: door.state.in_flight == 0, "it to count as quiet again")
        await socket.send_str("hello")
        assert await soon(socket.receive_str()) == "hello"
        assert door.state.in_flight == 1


async def test_the_engines_close_code_reaches_the_client(door, engine):
    async with door.session() as session, session.ws_connect(PATH) as socket:
        await socket.send_str("close")
        assert (await soon(socket.receive())).type is WSMsgType.CLOSE
        assert socket.close_code == 4321
    await door.quiet()


async def test_the_clients_close_code_reaches_the_engine(door, engine):
    async with door.session() as session, session.ws_connect(PATH) as socket:
        await socket.close(code=4999)
        assert await soon(engine.closed.get()) == 4999
    await door.quiet()


async def test_an_engine_that_dies_closes_the_socket_with_a_code_that_says_so(door, engine):
    async with door.session() as session, session.ws_connect(PATH) as socket:
        await socket.send_str("die")
        message = await soon(socket.receive())
        assert message.type is WSMsgType.CLOSE
        assert socket.close_code == 1011
    await door.quiet()


async def test_a_client_that_vanishes_is_felt_by_the_engine(door, engine):
    async with door.raw() as client:
        key = base64.b64encode(b"0" * 16).decode()
        upgrade = [
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        client.send(head("GET", PATH, upgrade))
        assert b" 101 " in await soon(client.reader.readuntil(b"\r\n\r\n"))
    await soon(engine.closed.get())
    await door.quiet()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 503])
async def test_a_handshake_that_the_engine_refuses_is_refused(door, engine, status):
    engine.refusal = status
    async with door.session() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await session.ws_connect(PATH)
    assert raised.value.status == status
    await door.quiet()


async def test_a_plain_get_at_the_sockets_route_wakes_nothing(open_plan, engine):
    door = await open_plan(engine.plan(), ready=False)
    async with door.raw() as client:
        client.send(head("GET", PATH))
        answer = await client.answer()
    assert answer.status == 426
    assert answer.error["code"] == "websocket_expected"
    assert not door.runs
    assert not engine.heads


async def test_a_socket_wakes_the_engine(open_plan, engine):
    door = await open_plan(engine.plan(), ready=False)
    async with door.session() as session:
        connecting = asyncio.create_task(session.ws_connect(PATH))
        await until(lambda: door.state.waiting == 1, "it to wait")
        door.runs[0].get_ready()
        socket = await soon(connecting)
        await socket.send_str("hello")
        assert await soon(socket.receive_str()) == "hello"
        await socket.close()
    await door.quiet()


async def test_a_socket_that_leaves_while_the_engine_starts_is_forgotten(open_plan, engine):
    door = await open_plan(engine.plan(), ready=False)
    async with door.session() as session:
        connecting = asyncio.create_task(session.ws_connect(PATH))
        await until(lambda: door.state.waiting == 1, "it to wait")
        connecting.cancel()
        await asyncio.wait({connecting})
    await until(lambda: door.state.waiting == 0, "it to be forgotten")
    assert door.state.state == "starting"


async def test_a_failed_start_is_told_before_the_handshake(open_plan, engine):
    door = await open_plan(engine.plan(), ready=False)
    async with door.session() as session:
        connecting = asyncio.create_task(session.ws_connect(PATH))
        await until(lambda: door.state.waiting == 1, "it to wait")
        door.runs[0].break_down("no memory")
        door.runs[0].kill()
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await connecting
    assert raised.value.status == 503


async def test_words_on_a_quiet_socket_do_not_start_another_engine(door, engine):
    async with door.session() as session, session.ws_connect(PATH) as socket:
        await until(lambda: door.state.in_flight == 0, "it to count as quiet")
        door.supervisor.stop("idle")
        await until(lambda: door.state.state == "off", "the stop")
        await socket.send_str("anybody there?")
        message = await soon(socket.receive())
        assert (message.type, socket.close_code) == (WSMsgType.CLOSE, 1012)
    await door.quiet()
    assert len(door.runs) == 1
