"""Streams: each chunk at once, and a client's departure felt at once, whatever it was waiting for."""

import asyncio

from wire import read_chunk, read_head, soon, until


async def test_every_chunk_arrives_before_the_next_is_produced(door, engine):
    produce = asyncio.Semaphore(0)

    async def stream(exchange):
        await exchange.body()
        exchange.begin_stream()
        for number in range(5):
            await produce.acquire()
            exchange.chunk(b"data: %d\n\n" % number)
        exchange.end_stream()

    engine.script = stream
    async with door.raw() as client:
        client.post()
        answer = None
        for number in range(5):
            produce.release()
            answer = answer or await soon(read_head(client.reader))
            assert await soon(read_chunk(client.reader)) == b"data: %d\n\n" % number
        assert await soon(read_chunk(client.reader)) == b""
        assert (answer.get("Content-Type"), answer.get("X-Accel-Buffering")) == ("text/event-stream", "no")
        assert door.state.in_flight == 0


async def test_the_head_of_a_stream_does_not_wait_for_its_first_chunk(door, engine):
    go_on = asyncio.Event()

    async def stream(exchange):
        await exchange.body()
        exchange.begin_stream()
        await go_on.wait()
        exchange.end_stream()

    engine.script = stream
    async with door.raw() as client:
        client.post()
        assert (await soon(read_head(client.reader))).status == 200
        go_on.set()
        assert await soon(read_chunk(client.reader)) == b""


async def departure_from(door, engine, begin, *, seen):
    """Let a client leave once `seen` is true of the door; return when the engine has felt it."""
    left = asyncio.Event()

    async def answer(exchange):
        await exchange.body()
        begin(exchange)
        await exchange.left()
        left.set()

    engine.script = answer
    async with door.raw() as client:
        client.post()
        await until(lambda: engine.requests, "the request")
        if seen:
            await soon(client.reader.readuntil(seen))
        assert door.state.in_flight == 1
    await soon(left.wait())
    await door.quiet()
    assert len(door.served.models) == 1, "the engine has worked for it"


async def test_leaving_a_stream_reaches_the_engine(door, engine, caplog):
    def begin(exchange):
        exchange.begin_stream()
        exchange.chunk(b"data: 1\n\n")

    await departure_from(door, engine, begin, seen=b"data: 1")
    assert "Traceback" not in caplog.text


async def test_leaving_before_the_answer_reaches_the_engine(door, engine):
    await departure_from(door, engine, lambda _: None, seen=b"")


async def test_leaving_in_the_middle_of_a_plain_answer_reaches_the_engine(door, engine):
    def begin(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    await departure_from(door, engine, begin, seen=b"")


async def test_leaving_a_large_answer_reaches_the_engine(door, engine):
    def begin(exchange):
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf")

    await departure_from(door, engine, begin, seen=b"half")


async def test_a_client_that_does_not_read_slows_the_engine_down_and_can_still_leave(door, engine):
    left, stuck = asyncio.Event(), asyncio.Event()

    async def flood(exchange):
        await exchange.body()
        exchange.begin_stream()
        while not left.is_set():
            exchange.chunk(b"x" * 65_536)
            if exchange.writer.transport.get_write_buffer_size() > 2**20:
                stuck.set()
                await exchange.left()
                left.set()
                return
            await asyncio.sleep(0)

    engine.script = flood
    async with door.raw() as client:
        client.post()
        await soon(read_head(client.reader))
        client.writer.transport.pause_reading()

        await soon(stuck.wait())  # the engine's own buffer fills: nothing of this piles up here
        assert client_bytes(door) < 2**20
        assert door.state.in_flight == 1
    await soon(left.wait())
    await door.quiet()


def client_bytes(door):
    """What the door holds of answers that clients do not take."""
    return sum(connection.transport.get_write_buffer_size() for connection in door.listener._server.connections)


async def test_a_client_that_never_reads_is_cut_off_in_the_end(open_door, engine, caplog):
    door = await open_door(heads={"sweep_every_s": 0.02})
    left = asyncio.Event()

    async def flood(exchange):
        await exchange.body()
        exchange.begin_stream()
        exchange.chunk(b"x" * 2**24)
        await exchange.left()
        left.set()

    engine.script = flood
    async with door.raw() as client:
        client.post()
        await soon(read_head(client.reader))
        client.writer.transport.pause_reading()
        await soon(left.wait())
        await door.quiet()
    assert "connection cut" in caplog.text


async def test_a_waiting_client_that_leaves_does_not_stop_the_start(open_door, engine):
    door = await open_door(ready=False)
    async with door.raw() as client:
        client.post()
        await until(lambda: door.state.waiting == 1, "the request to wait")
    await until(lambda: door.state.waiting == 0, "the front door to notice")
    assert door.state.state == "starting"
    door.runs[0].get_ready()
    await until(lambda: door.state.state == "ready", "the engine")
    assert not engine.requests
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).status == 200
    assert len(door.runs) == 1


async def test_the_connection_of_a_client_that_left_is_not_used_again(door, engine):
    await test_leaving_before_the_answer_reaches_the_engine(door, engine)
    used = engine.connections

    async def answer(exchange):
        await exchange.body()
        exchange.answer(b'"second"')

    engine.script = answer
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).body == b'"second"'
    assert engine.connections == used + 1
