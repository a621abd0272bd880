"""Bodies: their size, their pace, and when the engine gets to hear of them."""

import asyncio

import pytest
from wire import CHAT, head, read_chunk, read_head, soon, until

from costctl.daemon.frontdoor.bodies import BUFFERED_BODY

MOST = 3 * 2**20
PIECE = b"x" * 65_536


@pytest.fixture
async def door(open_door):
    return await open_door(most_body=MOST)


async def test_a_length_over_the_limit_is_refused_unread(door, engine):
    async with door.raw() as client:
        client.send(head("POST", CHAT, [f"Content-Length: {MOST + 1}", "Expect: 100-continue"]))
        answer = await client.answer()
    assert answer.status == 413
    assert answer.error["code"] == "body_too_large"
    assert str(MOST) in answer.error["message"]
    assert not engine.connections


async def test_a_length_at_the_limit_passes(door, engine):
    async with door.raw() as client:
        client.post(b"x" * MOST)
        assert (await client.answer()).status == 200
    assert len(engine.requests[0].body) == MOST


async def test_chunks_over_the_limit_are_refused_and_never_look_whole_to_the_engine(door, engine):
    ends = []

    async def read(exchange):
        try:
            await exchange.body()
        except asyncio.IncompleteReadError:
            ends.append("broken off")
            raise
        exchange.answer()

    engine.script = read
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Transfer-Encoding: chunked"]))
        for _ in range(MOST // len(PIECE) + 1):
            client.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        answer = await client.answer()
    assert answer.status == 413
    assert answer.error["code"] == "body_too_large"
    await until(lambda: ends, "the engine to feel it")


async def test_small_chunks_reach_the_engine_in_one_piece(door, engine):
    async with door.raw() as client:
        client.send(
            head("POST", CHAT, ["Transfer-Encoding: chunked"]), b'5;x=y\r\n{"a":\r\n2\r\n1}\r\n0\r\nT: 1\r\n\r\n'
        )
        assert (await client.answer()).status == 200
    (request,) = engine.requests
    assert (request.body, request.get("Content-Length")) == (b'{"a":1}', "7")


@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_a_large_upload_reaches_the_engine_while_it_is_being_sent(door, engine, framing):
    arrived = asyncio.Queue()

    async def read(exchange):
        while len(await exchange.reader.read(65_536)) > 0:
            arrived.put_nowait(True)
        exchange.answer()

    engine.script = read
    pieces = BUFFERED_BODY // len(PIECE) + 2
    lengths = {"chunked": "Transfer-Encoding: chunked", "length": f"Content-Length: {2 * pieces * len(PIECE)}"}
    async with door.raw() as client:
        client.send(head("POST", "/v1/audio/transcriptions", [lengths[framing]]))
        for _ in range(pieces):
            client.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if framing == "chunked" else PIECE)
        await soon(arrived.get())  # although half of it has not been sent yet
        assert door.state.in_flight == 1
    await door.quiet()


async def test_a_large_upload_arrives_byte_for_byte(door, engine):
    content = bytes(range(256)) * (MOST // 256)
    async with door.raw() as client:
        client.post(content, path="/v1/audio/transcriptions", headers=["Content-Type: multipart/form-data; boundary=b"])
        assert (await client.answer()).status == 200
    (request,) = engine.requests
    assert request.get("Content-Length") == str(len(content))
    assert request.body == content


async def test_an_answer_given_before_the_upload_ended_is_passed_on(door, engine):
    async def refuse(exchange):
        exchange.answer(b'{"error":"no"}', status="400 Bad Request")
        await exchange.writer.drain()
        await exchange.left()

    engine.script = refuse
    async with door.raw() as client:
        client.send(head("POST", CHAT, [f"Content-Length: {MOST}"]), b"x" * (BUFFERED_BODY + 1))
        answer = await client.answer()
    assert (answer.status, answer.body) == (400, b'{"error":"no"}')


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_a_slow_small_body_neither_wakes_nor_holds_the_engine(open_door, engine, framing):
    door = await open_door(ready=False, limits={"body_patience_s": 0.05})
    async with door.raw() as client:
        client.send(head("POST", CHAT, [framing]))
        answer = await client.answer()
    assert answer.status == 408
    assert answer.error["code"] == "slow_body"
    assert not door.runs


async def test_a_body_that_dribbles_for_ever_is_cut_off_all_the_same(open_door, engine):
    door = await open_door(most_body=MOST, limits={"body_patience_s": 0.2})
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Transfer-Encoding: chunked"]))

        async def dribble():
            while True:
                client.send(b"1\r\nx\r\n")
                await asyncio.sleep(0.02)  # a client that sends a little, often enough for each single wait

        dribbling = asyncio.create_task(dribble())
        answer = await client.answer()
        dribbling.cancel()
    assert answer.status == 408
    assert not engine.requests


async def test_a_large_upload_that_stalls_is_given_up_and_the_engine_let_go(open_door, engine):
    door = await open_door(most_body=MOST, limits={"body_patience_s": 0.05})
    left = asyncio.Event()

    async def read(exchange):
        await exchange.left()
        left.set()

    engine.script = read
    async with door.raw() as client:
        client.send(head("POST", CHAT, [f"Content-Length: {MOST}"]), b"x" * (BUFFERED_BODY + 1))
        answer = await client.answer()
        assert answer.status == 408
        assert answer.error["code"] == "slow_body"
        await soon(left.wait())
        await door.quiet()


async def test_an_upload_waits_in_the_clients_hands_while_the_engine_starts(open_door, engine):
    door = await open_door(ready=False, most_body=64 * 2**20)
    async with door.raw() as client:
        client.send(head("POST", CHAT, [f"Content-Length: {32 * 2**20}"]), b"x" * 32 * 2**20)
        await until(lambda: door.state.waiting, "the request to wait")
        assert door.door._memory.taken < 2 * BUFFERED_BODY
        door.runs[0].get_ready()
        assert (await client.answer()).status == 200
    await door.quiet()
    assert door.door._memory.taken == 0


async def test_memory_for_waiting_bodies_has_a_bound(open_door, engine, monkeypatch):
    door = await open_door(ready=False)
    door.door._memory._most = 100
    async with door.raw() as first, door.raw() as second:
        first.post(b"x" * 90)
        await until(lambda: door.state.waiting, "the first to wait")
        second.post(b"x" * 20)
        answer = await second.answer()
        assert (answer.status, answer.error["code"], answer.get("Retry-After")) == (503, "queue_full", "1")
        door.runs[0].get_ready()
        assert (await first.answer()).status == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(door, engine, caplog):
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Content-Length: 100"]), b"x")
        await until(lambda: door.listener._server.requests_count, "the request")
    async with door.raw() as client:
        client.send(head("POST", CHAT, [f"Content-Length: {MOST}"]), b"x" * (BUFFERED_BODY + 1))
        await until(lambda: engine.requests, "the upload to begin")
    await door.quiet()
    await until(lambda: door.door._memory.taken == 0, "the memory to be given back")
    assert "Traceback" not in caplog.text


async def test_the_engine_sees_an_upload_as_it_is_framed(door, engine):
    sizes = []

    async def read(exchange):
        while part := await read_chunk(exchange.reader):
            sizes.append(len(part))
        exchange.answer()

    engine.script = read
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Transfer-Encoding: chunked"]))
        for _ in range(20):
            client.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        client.send(b"0\r\n\r\n")
        assert (await client.answer()).status == 200
    assert sum(sizes) == 20 * len(PIECE)
    assert (await read_none(engine)) is None


async def read_none(engine):
    return engine.requests[0].get("Content-Length")


async def test_a_head_alone_does_not_wake_the_engine(open_door):
    door = await open_door(ready=False)
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Content-Length: 10", "Expect: 100-continue"]))
        assert (await read_head(client.reader)).status == 100
        assert not door.runs
