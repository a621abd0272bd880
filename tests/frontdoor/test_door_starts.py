"""Requests that wait for an engine: one start for all, and an answer for each."""

import asyncio
from collections import Counter

import aiohttp
import openai
import pytest
from running_door import QUESTION
from wire import CHAT, until


async def post(session, path=CHAT):
    async with session.post(path, json=QUESTION) as answer:
        return answer.status, await answer.json(), answer.headers.get("Retry-After")


async def test_two_thousand_requests_share_one_start_and_are_all_answered(open_door, engine):
    door = await open_door(ready=False)
    async with door.session(connector=aiohttp.TCPConnector(limit=0)) as session:
        asked = [asyncio.create_task(post(session)) for _ in range(2000)]
        await until(lambda: door.state.waiting == 2000, "all to wait")
        assert len(door.runs) == 1
        door.runs[0].get_ready()
        answers = await asyncio.gather(*asked)
    assert Counter(status for status, _, _ in answers) == {200: 2000}
    assert len(door.runs) == 1
    assert len(engine.requests) == len(door.served.models) == 2000


async def test_over_the_bound_of_the_queue_requests_are_told_when_to_come_again(open_door):
    door = await open_door(ready=False, most_waiting=3)
    async with door.session() as session:
        asked = [asyncio.create_task(post(session)) for _ in range(3)]
        await until(lambda: door.state.waiting == 3, "three to wait")
        door.runs[0].usual_s = 41.2
        status, body, retry = await post(session)
        assert (status, body["error"]["code"], retry) == (503, "queue_full", "42")
        door.runs[0].get_ready()
        assert {status for status, _, _ in await asyncio.gather(*asked)} == {200}


async def test_a_failed_start_is_told_to_everyone_who_waited_and_to_who_comes_next(open_door):
    door = await open_door(ready=False)
    async with door.session() as session:
        asked = [asyncio.create_task(post(session)) for _ in range(3)]
        await until(lambda: door.state.waiting == 3, "three to wait")
        door.runs[0].break_down("CUDA out of memory. Lower --gpu-memory-utilization")
        door.runs[0].kill()
        for status, body, retry in [*await asyncio.gather(*asked), await post(session)]:
            assert (status, body["error"]["code"]) == (503, "engine_failed")
            assert "CUDA out of memory" in body["error"]["message"]
            assert body["error"]["message"].endswith("\nValueError: these were its last words")
            assert int(retry) >= 1
    assert len(door.runs) == 1


async def test_the_openai_client_understands_a_failed_start(open_door):
    door = await open_door(ready=False)
    async with openai.AsyncOpenAI(base_url=f"{door.url}/v1", api_key="x", max_retries=0) as client:
        asked = asyncio.create_task(client.chat.completions.create(**QUESTION))
        await until(lambda: door.state.waiting, "it to wait")
        door.runs[0].break_down("no such model")
        door.runs[0].kill()
        with pytest.raises(openai.InternalServerError, match="no such model") as raised:
            await asked
    assert raised.value.code == "engine_failed"


async def test_who_waits_for_a_stop_is_served_by_the_next_engine(door, engine):
    go_on = asyncio.Event()

    async def wait(exchange):
        await exchange.body()
        if len(engine.requests) == 1:
            await go_on.wait()
        exchange.answer()

    engine.script = wait
    async with door.raw() as first, door.raw() as second:
        first.post()
        await until(lambda: engine.requests, "the first")
        door.supervisor.stop("idle")
        second.post()
        await until(lambda: door.state.waiting == 1, "the second to wait")
        go_on.set()
        assert (await first.answer()).status == 200
        assert (await second.answer()).status == 200
    assert len(door.runs) == 2


async def test_a_shutdown_answers_everyone_who_waits(open_door):
    door = await open_door(ready=False)
    async with door.raw() as client:
        client.post()
        await until(lambda: door.state.waiting, "it to wait")
        door.supervisor.stop("SIGTERM", closing=True)
        answer = await client.answer()
        assert (answer.status, answer.error["code"]) == (503, "shutting_down")


async def test_a_new_engine_gets_connections_of_its_own(door, engine):
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).status == 200
        door.supervisor.stop("idle")
        await until(lambda: door.state.state == "off", "the stop")
        door.plan = engine.plan(api_key="another")
        client.post()
        assert (await client.answer()).status == 200
    assert [request.get("Authorization") for request in engine.requests] == [None, "Bearer another"]
    assert engine.connections == 2
