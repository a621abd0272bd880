"""Sleep mode: VRAM, routes, and requests that come meanwhile."""

import asyncio

import pytest
from running_sim import ENDLESS, is_at, stream, until

ASK = {"prompt": "hi", "max_tokens": 1}
GIB = 2**30


@pytest.fixture
async def sim(launch):
    arguments = ("--enable-sleep-mode", "--vram-gib", "10", "--sleep-seconds", "0", "--tokens-per-second", "50")
    return await launch(*arguments, "--enable-server-load-tracking", VLLM_SERVER_DEV_MODE="1").ready()


async def put_to_sleep(client, level=1, mode="wait"):
    async with client.post(f"/sleep?level={level}&mode={mode}") as answer:
        assert await answer.json() == {"status": "sleeping", "level": level}


async def wake(client, *tags):
    async with client.post("/wake_up", params=[("tags", tag) for tag in tags]) as answer:
        return (await answer.json())["status"]


async def sleeps(client):
    async with client.get("/is_sleeping") as answer:
        return (await answer.json())["is_sleeping"]


@pytest.mark.parametrize("level", [1, 2])
async def test_sleeping_frees_vram_and_waking_takes_it_back(sim, client, level):
    await put_to_sleep(client, level)
    assert sim.claim()["memory_bytes"] == GIB
    assert await sleeps(client)
    assert await sim.metric('vllm:engine_sleep_state{engine="0",model_name="Qwen/Qwen3-1.7B",sleep_state="awake"}') == 0
    async with client.get("/health") as answer:
        assert answer.status == 200
    assert await wake(client) == "awake"
    assert sim.claim()["memory_bytes"] == 10 * GIB
    assert not await sleeps(client)


async def test_waking_part_by_part(sim, client):
    await put_to_sleep(client)
    assert await wake(client, "weights") == "sleeping"
    assert sim.claim()["memory_bytes"] == 5 * GIB
    assert await sleeps(client)
    assert await wake(client, "kv_cache") == "awake"
    assert sim.claim()["memory_bytes"] == 10 * GIB


async def test_pause_frees_nothing(sim, client):
    await put_to_sleep(client, level=0)
    assert sim.claim()["memory_bytes"] == 10 * GIB
    assert await sleeps(client)


async def test_without_sleep_mode_it_only_says_that_it_sleeps(launch):
    sim = await launch("--vram-gib", "10", VLLM_SERVER_DEV_MODE="1").ready()
    async with sim.session() as client:
        await put_to_sleep(client)
        assert await sleeps(client)
    assert sim.claim()["memory_bytes"] == 10 * GIB


async def test_request_to_a_sleeping_engine_hangs_unseen_until_it_wakes(sim, client):
    await put_to_sleep(client)
    asking = asyncio.create_task(client.post("/v1/completions", json=ASK))

    async def is_in():
        async with client.get("/load") as answer:
            return await answer.json() == {"server_load": 1}

    await until(is_in, "the request to be in")
    assert await sim.metric("vllm:num_requests_waiting") == 0
    assert await sim.metric("vllm:num_requests_running") == 0
    assert not asking.done()
    await wake(client)
    async with await asking as answer:
        assert answer.status == 200


async def test_abort_mode_breaks_requests_off(sim, client):
    async with stream(sim) as answer:
        await put_to_sleep(client, mode="abort")
        assert (await answer.text()).endswith("data: [DONE]\n\n")


async def test_wait_mode_lets_requests_finish(sim, client):
    asking = asyncio.create_task(client.post("/v1/completions", json=ASK | {"max_tokens": 10}))
    await is_at(sim, "vllm:num_requests_running", 1)
    await put_to_sleep(client, mode="wait")
    async with await asking as answer:
        assert (await answer.json())["usage"]["completion_tokens"] == 10


async def test_keep_mode_freezes_requests(sim, client):
    asking = asyncio.create_task(client.post("/v1/completions", json=ENDLESS | ASK | {"max_tokens": 10}))
    await is_at(sim, "vllm:num_requests_running", 1)
    await put_to_sleep(client, mode="keep")
    assert await sim.metric("vllm:num_requests_running") == 1
    await wake(client)
    async with await asking as answer:
        assert (await answer.json())["usage"]["completion_tokens"] == 10


async def test_sleep_after_the_core_died_is_an_error(sim, client):
    sim.core().kill()
    await sim.said("engine core exited unexpectedly")

    async def refused():
        async with client.post("/sleep") as answer:
            return answer.status == 500

    await until(refused, "the engine to refuse")
