"""Errors, keys, development routes and the routes that are not inference."""

import pytest

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_unknown_model(client, path):
    async with client.post(path, json=CHAT | {"model": "other", "input": "hi"}) as answer:
        assert answer.status == 404
        message = "The model `other` does not exist. Valid aliases: tiny."
        error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
        assert await answer.json() == {"error": error}


async def test_messages_word_errors_as_anthropic_does(client):
    async with client.post("/v1/messages", json=CHAT | {"model": "other"}) as answer:
        assert answer.status == 404
        body = await answer.json()
    assert (body["type"], body["error"]["type"]) == ("error", "NotFoundError")


@pytest.mark.parametrize(
    "body", [b"{bad", b"\xff", b"[1]", b'{"model": "tiny"}', b'{"messages": null}', b'{"prompt": 1}']
)
async def test_malformed_body(client, body):
    async with client.post("/v1/chat/completions", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["type"] == "Bad Request"


async def test_model_that_is_not_even_a_name(client):
    async with client.post("/v1/chat/completions", json=CHAT | {"model": ["tiny"], "stream": {}}) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("limit", [8193, 0, "many"])
async def test_impossible_length(client, limit):
    async with client.post("/v1/chat/completions", json=CHAT | {"max_tokens": limit}) as answer:
        assert answer.status == 400
        error = (await answer.json())["error"]
    assert (error["param"], error["code"]) == ("max_tokens", 400)


async def test_prompt_longer_than_the_context(client):
    async with client.post("/v1/completions", json={"prompt": "word" * 8192}) as answer:
        assert answer.status == 400
        assert "maximum context length is 8192 tokens" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/nothing", 404, "Not Found"),
        ("GET", "/v1/chat/completions", 405, "Method Not Allowed"),
        ("POST", "/sleep", 404, "Not Found"),
        ("GET", "/is_sleeping", 404, "Not Found"),
        ("HEAD", "/health", 405, "Method Not Allowed"),
    ],
)
async def test_routes_that_are_not_there(client, method, path, status, detail):
    async with client.request(method, path) as answer:
        assert answer.status == status
        assert method == "HEAD" or await answer.json() == {"detail": detail}


@pytest.mark.parametrize(("method", "path"), [("GET", "/health"), ("GET", "/ping"), ("POST", "/ping")])
async def test_health_is_an_empty_200(client, method, path):
    async with client.request(method, path) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_models_name_the_one_that_is_served(client):
    async with client.get("/v1/models") as answer:
        (model,) = (await answer.json())["data"]
    assert (model["id"], model["owned_by"], model["max_model_len"]) == ("tiny", "vllm", 8192)


async def test_version_and_load(client):
    async with client.get("/version") as answer:
        assert "version" in await answer.json()
    async with client.get("/load") as answer:
        assert await answer.json() == {"server_load": 0}


async def test_metrics_count_tokens_and_requests(client, sim):
    names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:time_to_first_token_seconds_count")
    before = [await sim.metric(name) for name in names]
    async with client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 7}):
        pass
    after = [await sim.metric(name) for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [5, 7, 1]


async def test_metrics_have_the_labels_and_lines_of_prometheus_client(client):
    async with client.get("/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"
        page = await answer.text()
    for line in (
        "# TYPE vllm:num_requests_running gauge",
        'vllm:num_requests_running{engine="0",model_name="tiny"} 0.0',
        'vllm:num_requests_waiting{engine="0",model_name="tiny"} 0.0',
        'vllm:engine_sleep_state{engine="0",model_name="tiny",sleep_state="awake"} 1.0',
        'vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"} 0.0',
        "# TYPE vllm:generation_tokens_total counter",
        "# TYPE vllm:generation_tokens_created gauge",
        "# TYPE vllm:time_to_first_token_seconds histogram",
    ):
        assert line in page.splitlines()
    assert 'vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="tiny"}' in page


async def test_key_guards_some_prefixes_only(launch):
    sim = await launch(VLLM_API_KEY="secret").ready()
    async with sim.session() as client:
        async with client.post("/v1/chat/completions", json=CHAT) as answer:
            assert (answer.status, await answer.json()) == (401, {"error": "Unauthorized"})
        async with client.post("/invocations", json={"prompt": "hi"}) as answer:
            assert answer.status == 200
        async with client.get("/v1/models", headers={"Authorization": "Bearer secret"}) as answer:
            assert answer.status == 200
        async with client.get("/metrics") as answer:
            assert answer.status == 200
    assert "secret" not in sim.log


async def test_development_routes_only_in_development(launch):
    sim = await launch(VLLM_SERVER_DEV_MODE="1").ready()
    async with sim.session() as client:
        async with client.get("/server_info") as answer:
            assert answer.status == 200
        async with client.post("/reset_prefix_cache") as answer:
            assert await answer.json() == {"success": True}
        async with client.post("/sleep?level=7") as answer:
            assert answer.status == 400


async def test_usage_can_be_forced(launch):
    sim = await launch("--enable-force-include-usage").ready()
    asked = {"messages": [], "stream": True, "max_tokens": 2}
    async with sim.session() as client, client.post("/v1/chat/completions", json=asked) as answer:
        assert (await answer.text()).count('"usage"') == 4


async def test_served_name_and_access_log(launch):
    sim = await launch("--served-model-name", "small").ready()
    async with sim.session() as client, client.get("/v1/models?a=b") as answer:
        assert (await answer.json())["data"][0]["id"] == "small"
    await sim.said('"GET /v1/models?a=b HTTP/1.1" 200 OK')


async def test_access_log_can_be_switched_off(launch):
    sim = await launch("--disable-uvicorn-access-log").ready()
    assert "GET /health" not in sim.log


async def test_idle_log_lines(launch):
    sim = await launch("--log-lines", "200").ready()
    await sim.said("Engine 000: Avg prompt throughput")
