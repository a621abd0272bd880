"""What costctl answers itself, in every state of the engine: looking never wakes it, and never keeps it awake."""

import asyncio

import pytest
from scripted_engine import MODEL
from wire import head, soon, until

LOOKS = ["/health", "/ping", "/v1/models", f"/v1/models/{MODEL}", "/metrics", "/version", "/"]


async def look(door, path):
    async with door.raw() as client:
        client.send(head("GET", path))
        return await client.answer()


async def into(door, state):
    """Bring the engine into a state."""
    if state == "off":
        return
    door.supervisor.start()
    run = door.runs[0]
    if state == "starting":
        return
    if state == "failed":
        run.break_down("CUDA out of memory")
        run.kill()
    else:
        run.get_ready()
        await until(lambda: door.state.state == "ready", "the engine")
    await until(lambda: door.state.state == state, state)


@pytest.mark.parametrize("state", ["off", "starting", "ready", "failed"])
@pytest.mark.parametrize("path", LOOKS)
async def test_looking_changes_nothing(open_door, engine, state, path):
    async def answer(exchange):
        text = b'{"object":"list","data":[]}' if exchange.request.path == "/v1/models" else b"vllm:x 1\n"
        exchange.answer(text)

    engine.script = answer
    door = await open_door(ready=False)
    await into(door, state)
    before = door.state
    answered = await look(door, path)
    assert answered.status == 200
    assert door.state == before
    assert len(door.runs) == (state != "off")
    assert not door.served.models
    await door.quiet()


async def test_models_are_listed_while_there_is_no_engine(open_door):
    door = await open_door(ready=False)
    (card,) = (await look(door, "/v1/models")).json["data"]
    assert (card["id"], card["object"], card["owned_by"]) == (MODEL, "model", "costctl")
    assert (await look(door, "/v1/models/other")).error["code"] == "model_not_found"


async def test_the_engines_own_list_of_models_is_shown_while_it_is_ready(door, engine):
    async def answer(exchange):
        exchange.answer(b'{"object":"list","data":[{"id":"lora"}]}')

    engine.script = answer
    assert (await look(door, "/v1/models")).json["data"] == [{"id": "lora"}]


@pytest.mark.parametrize("path", ["/v1/models", "/metrics"])
async def test_an_engine_that_does_not_answer_holds_up_no_look(door, engine, path, monkeypatch):
    monkeypatch.setattr("costctl.daemon.frontdoor.own._ENGINE_TIMEOUT_S", 0.05)

    async def hang(exchange):
        await exchange.left()

    engine.script = hang
    assert (await look(door, path)).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/metrics"])
async def test_an_engine_that_breaks_off_spoils_no_look(door, engine, path):
    async def die(exchange):
        exchange.die()

    engine.script = die
    assert (await look(door, path)).status == 200


async def test_metrics_count_who_is_with_the_engine_and_who_waits(open_door, engine):
    door = await open_door(ready=False)
    async with door.raw() as client:
        client.post()
        await until(lambda: door.state.waiting, "it to wait")
        text = (await look(door, "/metrics")).body.decode()
        assert "costctl_requests_waiting 1\n" in text
        assert 'costctl_engine_state{state="starting"} 1\n' in text
        door.runs[0].get_ready()
        assert (await client.answer()).status == 200
    await door.quiet()
    assert "costctl_requests_in_flight 0\n" in (await look(door, "/metrics")).body.decode()


async def test_metrics_of_the_engine_are_added_to_ours(door, engine):
    async def answer(exchange):
        exchange.answer(b"vllm:num_requests_running 0\n", headers=["Content-Type: text/plain"])

    engine.script = answer
    text = (await look(door, "/metrics")).body.decode()
    assert text.startswith("# HELP costctl_")
    assert text.endswith("vllm:num_requests_running 0\n")


async def test_a_door_that_closes_says_so_to_probes_and_to_requests(door, engine):
    go_on = asyncio.Event()

    async def wait(exchange):
        await exchange.body()
        await go_on.wait()
        exchange.answer()

    engine.script = wait
    async with door.raw() as client, door.raw() as late:
        client.post()
        await until(lambda: engine.requests, "the request")
        door.supervisor.stop("test", closing=True)
        health = await look(door, "/health")
        assert (health.status, health.json["status"]) == (503, "closing")
        late.post()
        assert (await late.answer()).error["code"] == "shutting_down"
        go_on.set()
        assert (await soon(client.answer())).status == 200
    await until(lambda: door.state.state == "off", "the stop")


@pytest.mark.parametrize("size", [0, 70_000])
async def test_a_get_with_a_body_is_answered_and_the_next_request_too(door, size):
    async with door.raw() as client:
        client.send(head("GET", "/health", [f"Content-Length: {size}"]), b"x" * size)
        assert (await client.answer()).status == 200
        client.send(head("GET", "/health"))
        assert (await client.answer()).status == 200
