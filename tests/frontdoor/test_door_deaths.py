"""Engines that die, at every moment of a request; read with the openai client where people would."""

import asyncio
import json

import openai
import pytest
from running_door import QUESTION
from scripted_engine import MODEL
from wire import CHAT, read_head, soon, until


@pytest.fixture
async def client(door):
    async with openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="x", max_retries=0, timeout=10) as client:
        yield client


def stream_then_die(*chunks):
    async def script(exchange):
        await exchange.body()
        exchange.begin_stream()
        for chunk in chunks:
            exchange.chunk(chunk)
        await exchange.writer.drain()
        exchange.die()

    return script


async def heard(stream):
    """What the openai client yields of a stream before it raises that the engine died."""
    chunks = []

    async def listen():
        async for chunk in stream:
            chunks.append(chunk)  # noqa: PERF401 - they have to be there when it raises

    with pytest.raises(openai.APIError, match="the engine died while it answered"):
        await listen()
    return chunks


def chat_chunk(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return f"data: {json.dumps(body)}\n\n".encode()


async def test_a_chat_stream_that_breaks_raises_in_the_openai_client(client, engine, door):
    engine.script = stream_then_die(chat_chunk("Hel"), chat_chunk("lo"))
    chunks = await heard(await client.chat.completions.create(**QUESTION, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["Hel", "lo"]
    await door.quiet()


async def test_a_chat_stream_cut_in_the_middle_of_an_event_raises_too(client, engine):
    engine.script = stream_then_die(chat_chunk("Hello"), chat_chunk("lost")[:30])
    chunks = await heard(await client.chat.completions.create(**QUESTION, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["Hello"]


async def test_a_response_stream_that_breaks_raises_in_the_openai_client(client, engine):
    delta = {"type": "response.output_text.delta", "delta": "Hi", "item_id": "i", "output_index": 0}
    delta |= {"content_index": 0, "sequence_number": 4, "logprobs": []}
    event = f"event: response.output_text.delta\ndata: {json.dumps(delta)}\n\n".encode()
    engine.script = stream_then_die(event)
    events = await heard(await client.responses.create(model=MODEL, input="hi", stream=True))
    assert [event.type for event in events] == ["response.output_text.delta"]


async def test_a_message_stream_that_breaks_ends_with_anthropics_error_event(door, engine):
    engine.script = stream_then_die(b'event: ping\ndata: {"type":"ping"}\n\n')
    async with door.session() as session, session.post("/v1/messages", json={}) as answer:
        events = (await answer.text()).strip().split("\n\n")
    name, data = events[-1].strip().split("\n")
    assert name == "event: error"
    fault = json.loads(data.removeprefix("data: "))
    assert (fault["type"], fault["error"]["type"]) == ("error", "api_error")


async def test_a_stream_that_is_not_of_events_is_torn(door, engine):
    async def script(exchange):
        await exchange.body()
        exchange.begin_stream(kind="application/octet-stream")
        exchange.chunk(b"half")
        await exchange.writer.drain()
        exchange.die()

    engine.script = script
    async with door.raw() as client:
        client.post()
        await soon(read_head(client.reader))
        rest = await client.ended()
    assert b"error" not in rest
    assert not rest.endswith(b"0\r\n\r\n")


async def test_a_compressed_stream_is_torn_since_an_event_would_not_be_understood(door, engine):
    async def script(exchange):
        await exchange.body()
        exchange.begin_stream("Content-Encoding: gzip")
        exchange.chunk(b"\x1f\x8b\x08")
        await exchange.writer.drain()
        exchange.die()

    engine.script = script
    async with door.raw() as client:
        client.post()
        await soon(read_head(client.reader))
        rest = await client.ended()
    assert b"error" not in rest
    assert not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("size", [100, 10_000_000])
async def test_a_plain_answer_cut_short_never_looks_whole(door, engine, size):
    async def script(exchange):
        await exchange.body()
        exchange.send(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n")
        exchange.send(b"half")
        await exchange.writer.drain()
        exchange.die()

    engine.script = script
    async with door.raw() as client:
        client.post()
        answer = await soon(read_head(client.reader))
        if answer.status == 502:
            assert b'"engine_died"' in await client.reader.readexactly(int(answer.get("Content-Length")))
        else:
            assert len(await client.ended()) < size


async def test_an_engine_that_dies_before_it_answers_is_a_502(client, engine, door):
    async def script(exchange):
        await exchange.body()
        exchange.die()

    engine.script = script
    with pytest.raises(openai.InternalServerError) as raised:
        await client.chat.completions.create(**QUESTION)
    assert raised.value.status_code == 502
    assert raised.value.code == "engine_died"
    assert not door.served.models


@pytest.mark.parametrize("words", [b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n", b"NONSENSE\r\n\r\n"])
async def test_a_request_that_the_engine_began_to_answer_is_not_sent_again(door, engine, words):
    async def script(exchange):
        await exchange.body()
        exchange.send(words)
        await exchange.writer.drain()
        exchange.writer.close()

    engine.script = script
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).error["code"] == "engine_died"
    assert len(engine.requests) == 1


async def test_a_kept_connection_that_the_engine_closed_costs_no_request(door, engine):
    async def script(exchange):
        await exchange.body()
        if len(engine.requests) == 2:  # the second on this connection: closed as if it had been idle for too long
            exchange.writer.close()
        else:
            exchange.answer()

    engine.script = script
    async with door.raw() as client:
        for _ in range(2):
            client.post(b'{"same":1}')
            assert (await client.answer()).status == 200
    assert len(engine.requests) == 3
    assert engine.requests[1].body == engine.requests[2].body == b'{"same":1}'


async def test_a_fresh_connection_that_the_engine_closes_is_not_tried_again(door, engine):
    async def script(exchange):
        await exchange.body()
        exchange.writer.close()

    engine.script = script
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).error["code"] == "engine_died"
    assert len(engine.requests) == 1


async def test_an_engine_that_is_gone_is_a_502(door, engine):
    engine._server.close()
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).error["code"] == "engine_died"


async def test_a_bad_answer_of_the_engine_is_a_502(door, engine):
    async def script(exchange):
        await exchange.body()
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
        await exchange.left()

    engine.script = script
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).status == 502


async def test_a_fault_of_our_own_is_a_500_without_a_traceback(door, engine, caplog):
    def fail(_):
        raise RuntimeError("secret words")

    door.served.request_served = fail
    door.door._keys.admit = fail
    async with door.raw() as client:
        client.post()
        answer = await client.answer()
    assert (answer.status, answer.error["code"]) == (500, "internal")
    assert b"secret" not in answer.body
    assert "secret words" in caplog.text


async def test_other_streams_live_on_when_one_client_leaves(door, engine):
    go_on = asyncio.Event()

    async def script(exchange):
        await exchange.body()
        exchange.begin_stream()
        exchange.chunk(b"data: 1\n\n")
        await go_on.wait()
        exchange.end_stream()

    engine.script = script
    async with door.raw() as stays, door.raw() as leaves:
        stays.post()
        leaves.post()
        await until(lambda: door.state.in_flight == 2, "both")
        leaves.leave()
        await until(lambda: door.state.in_flight == 1, "one to leave")
        go_on.set()
        assert (await stays.answer()).body == b"data: 1\n\n"


async def test_a_model_is_found_by_its_name_with_a_slash(client):
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("other/model")


async def test_the_openai_client_gets_a_plain_answer(client, engine):
    async def script(exchange):
        asked = json.loads(await exchange.body())
        message = {"role": "assistant", "content": asked["messages"][0]["content"]}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        exchange.answer(
            json.dumps(
                {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice]}
            ).encode()
        )

    engine.script = script
    assert engine.plan().endpoint.uds
    assert (await client.chat.completions.create(**QUESTION)).choices[0].message.content == "hi"
    assert [request.path for request in engine.requests] == [CHAT]


async def test_only_whole_answers_prove_that_the_engine_is_sound(door, engine):
    async def refuse(exchange):
        await exchange.body()
        exchange.answer(status="400 Bad Request")

    async def ask():
        async with door.session() as session, session.post(CHAT, json={}) as answer:
            await answer.read()
        await door.quiet()
        return door.state.has_answered

    obliging = engine.script
    engine.script = refuse
    assert not await ask()
    engine.script = stream_then_die(chat_chunk("Hel"))
    assert not await ask()
    engine.script = obliging
    assert await ask()
