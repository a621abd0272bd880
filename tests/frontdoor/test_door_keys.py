"""Keys: the clients' stop here, the engine's own is put in."""

import pytest
from wire import CHAT, head, until

KEYS = ("first-key", "second-key")


@pytest.fixture
async def locked(open_door):
    return await open_door(keys=KEYS, api_key="engine-secret")


@pytest.mark.parametrize(
    "shown",
    [
        [],
        ["Authorization: Bearer wrong"],
        ["Authorization: Bearer"],
        ["Authorization: Bearer "],
        ["Authorization: Basic Zmlyc3Qta2V5"],
        ["Authorization: first-key"],
        ["Authorization: Bearer first-ke"],
        ["Authorization: Bearer engine-secret"],
        ["x-api-key: wrong"],
        ["Authorization: Bearer \udcff\udcfe"],
        ["x-api-key: caf\u00e9"],
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/audio/transcriptions"])
async def test_without_a_key_nothing_gets_in(open_door, engine, path, shown):
    door = await open_door(keys=KEYS, ready=False)
    async with door.raw() as client:
        client.post(path=path, headers=shown)
        answer = await client.answer()
        assert answer.status == 401
        assert answer.error["type"] == "authentication_error"
        assert b"first-key" not in answer.body
    assert not door.runs


@pytest.mark.parametrize(
    "shown",
    ["Authorization: Bearer first-key", "authorization: bearer second-key", "X-Api-Key: second-key"],
)
async def test_each_key_opens_in_either_header_and_goes_no_further(locked, engine, shown):
    async with locked.raw() as client:
        client.post(headers=[shown])
        assert (await client.answer()).status == 200
    (request,) = engine.requests
    assert request.get("Authorization") == "Bearer engine-secret"
    assert request.get("X-Api-Key") is None
    assert "-key" not in str(request.headers)


async def test_without_keys_of_our_own_the_clients_still_stops_here(door, engine):
    async with door.raw() as client:
        client.post(headers=["Authorization: Bearer mine", "X-Api-Key: mine"])
        assert (await client.answer()).status == 200
    assert engine.requests[0].get("Authorization") is None
    assert engine.requests[0].get("X-Api-Key") is None


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/version", "/", "/v1/responses/r1", "/v1/realtime"])
async def test_looking_needs_a_key_too(locked, engine, path):
    async with locked.raw() as client:
        client.send(head("GET", path))
        assert (await client.answer()).status == 401
    assert not engine.requests


@pytest.mark.parametrize("path", ["/health", "/ping"])
async def test_a_probe_needs_no_key_and_learns_nothing_of_them(locked, path):
    async with locked.raw() as client:
        client.send(head("GET", path))
        answer = await client.answer()
    assert answer.status == 200
    assert b"key" not in answer.body


async def test_a_client_without_a_key_is_not_told_to_send_its_body(locked):
    async with locked.raw() as client:
        client.send(head("POST", CHAT, ["Content-Length: 100000", "Expect: 100-continue"]))
        assert (await client.answer()).status == 401


async def test_the_engine_is_asked_for_models_and_metrics_with_its_own_key(locked, engine):
    async with locked.raw() as client:
        for path in ("/v1/models", "/metrics"):
            client.send(head("GET", path, ["Authorization: Bearer first-key"]))
            assert (await client.answer()).status == 200
    assert [request.get("Authorization") for request in engine.requests] == ["Bearer engine-secret"] * 2


async def test_keys_do_not_show_in_the_log(locked, engine, caplog):
    async def die(exchange):
        await exchange.body()
        exchange.die()

    engine.script = die
    async with locked.raw() as client:
        client.post(headers=["Authorization: Bearer first-key"])
        assert (await client.answer()).status == 502
        client.post(headers=["Authorization: Bearer third-key"])
        assert (await client.answer()).status == 401
    await until(lambda: not locked.state.in_flight, "the end")
    assert "-key" not in caplog.text
    assert "secret" not in caplog.text
    assert "secret" not in repr(locked.door._keys)
