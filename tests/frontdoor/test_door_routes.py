"""What gets to the engine, and what does not exist at the front door."""

import pytest
from wire import CHAT, head

INFERENCE = [
    "/v1/chat/completions",
    "/v1/chat/completions/batch",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v2/embed",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/v1/score",
    "/score",
    "/pooling",
    "/classify",
    "/tokenize",
    "/detokenize",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
]
ABSENT = [
    ("POST", "/invocations"),
    ("POST", "/sleep"),
    ("POST", "/wake_up"),
    ("GET", "/is_sleeping"),
    ("POST", "/reset_prefix_cache"),
    ("POST", "/collective_rpc"),
    ("GET", "/server_info"),
    ("GET", "/load"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "/v1/chat/completions/"),
    ("POST", "//v1/chat/completions"),
    ("POST", "/v1//chat/completions"),
    ("POST", "/v1/./chat/completions"),
    ("POST", "/v1/../invocations"),
    ("POST", "/v1/chat/completions/../../../invocations"),
    ("POST", "/v1/responses/../../invocations"),
    ("POST", "/v1/responses/%2e%2e/%2e%2e/invocations"),
    ("POST", "/v1/chat%2fcompletions"),
    ("POST", "/%76%31/chat/completions"),
    ("POST", "/V1/chat/completions"),
    ("POST", "/v1/chat/completions;x=1"),
    ("POST", "/v1\\chat\\completions"),
    ("POST", "/v1/chat/completions#x"),
    ("POST", "http://engine/invocations"),
    ("POST", "http://engine/v1/chat/completions"),
    ("GET", "/v1/responses/abc/input_items"),
    ("OPTIONS", "*"),
]
WRONG_METHOD = [
    ("GET", "/v1/chat/completions"),
    ("PUT", "/v1/chat/completions"),
    ("DELETE", "/v1/chat/completions"),
    ("PATCH", "/v1/completions"),
    ("OPTIONS", "/v1/chat/completions"),
    ("TRACE", "/v1/chat/completions"),
    ("POST", "/?/v1/chat/completions"),
    ("POST", "/v1/models"),
    ("POST", "/health"),
    ("POST", "/metrics"),
    ("DELETE", "/v1/responses/abc"),
    ("GET", "/v1/responses/abc/cancel"),
]


@pytest.mark.parametrize("path", INFERENCE)
async def test_every_inference_route_reaches_the_engine_as_it_was_sent(door, engine, path):
    async with door.raw() as client:
        client.post(b'{"a":1}', path=f"{path}?api-version=1&x=%2F+y")
        answer = await client.answer()
    assert (answer.status, answer.json) == (200, {"ok": True})
    (request,) = engine.requests
    assert request.start == f"POST {path}?api-version=1&x=%2F+y HTTP/1.1"
    assert request.body == b'{"a":1}'
    assert door.served.models


@pytest.mark.parametrize(("method", "path"), ABSENT)
async def test_nothing_else_of_the_engine_is_there(door, engine, method, path):
    async with door.raw() as client:
        client.send(head(method, path, ["Content-Length: 2"]), b"{}")
        answer = await client.answer()
    assert answer.status in (400, 404)
    assert answer.error["type"] in ("not_found_error", "invalid_request_error")
    assert not engine.requests


@pytest.mark.parametrize(("method", "path"), WRONG_METHOD)
async def test_a_route_takes_only_its_own_method(door, engine, method, path):
    async with door.raw() as client:
        client.send(head(method, path, ["Content-Length: 0"]))
        answer = await client.answer()
    assert answer.status == 405
    assert answer.error["code"] == "method_not_allowed"
    assert not engine.requests


async def test_an_absolute_form_of_a_tunnel_leads_nowhere(door, engine):
    async with door.raw() as client:
        client.send("CONNECT engine:80 HTTP/1.1\r\nHost: engine:80\r\n\r\n")
        assert b" 200 " not in (await client.ended()).partition(b"\r\n")[0]
    assert not engine.requests


async def test_a_response_of_earlier_is_looked_up_but_wakes_nothing(open_door, engine):
    door = await open_door(ready=False)
    async with door.raw() as client:
        client.send(head("GET", "/v1/responses/resp_1"))
        assert (await client.answer()).error["code"] == "response_not_found"
    assert not door.runs
    door.warm = True
    await door.start_engine()
    async with door.raw() as client:
        client.send(head("GET", "/v1/responses/resp_1?include=x"))
        assert (await client.answer()).status == 200
        client.send(head("POST", "/v1/responses/resp_1/cancel", ["Content-Length: 0"]))
        assert (await client.answer()).status == 200
    assert [request.start for request in engine.requests] == [
        "GET /v1/responses/resp_1?include=x HTTP/1.1",
        "POST /v1/responses/resp_1/cancel HTTP/1.1",
    ]
    assert not door.served.models


async def test_a_post_without_a_body_reaches_the_engine_with_none(door, engine):
    async with door.raw() as client:
        client.send(head("POST", CHAT))
        assert (await client.answer()).status == 200
    assert engine.requests[0].body == b""
