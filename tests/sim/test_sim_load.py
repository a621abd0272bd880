"""Running, waiting, leaving: what the metrics and the simulated GPU show of it."""

import asyncio

import pytest
from running_sim import ENDLESS, is_at, stream, until


async def test_stream_comes_as_it_is_made(launch):
    sim = await launch("--tokens-per-second", "50").ready()
    async with stream(sim):
        assert await sim.metric("vllm:num_requests_running") == 1


async def test_requests_over_the_limit_wait(launch):
    sim = await launch("--max-concurrent", "1", "--tokens-per-second", "50").ready()
    async with stream(sim), asyncio.TaskGroup() as group:
        second = group.create_task(sim.session().post("/v1/chat/completions", json=ENDLESS))
        await is_at(sim, "vllm:num_requests_waiting", 1)
        assert await sim.metric("vllm:num_requests_running") == 1
        second.cancel()
        await is_at(sim, "vllm:num_requests_waiting", 0)


@pytest.mark.parametrize("streamed", [True, False])
async def test_departure_ends_the_generation_at_once(launch, streamed):
    sim = await launch("--tokens-per-second", "50", "--enable-server-load-tracking").ready()
    async with sim.session() as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=ENDLESS | {"stream": streamed}))
        await is_at(sim, "vllm:num_requests_running", 1)
        async with client.get("/load") as answer:
            assert await answer.json() == {"server_load": 1}
        asking.cancel()
    await is_at(sim, "sim:requests_aborted_total", 1)
    assert await sim.metric("vllm:num_requests_running") == 0
    # vLLM counts an aborted request's tokens, but not the request.
    assert await sim.metric("vllm:generation_tokens_total") > 0
    assert await sim.metric("vllm:request_success_total") == 0


async def test_gpu_shows_memory_and_load(launch):
    sim = await launch("--vram-gib", "2", "--tokens-per-second", "50").ready()
    core = sim.core()
    assert "sim-engine-core" in core.cmdline()
    assert sim.claim() == {"pid": core.pid, "memory_bytes": 2 * 2**30, "sm_percent": 0}
    async with stream(sim):
        await until(lambda: sim.claim()["sm_percent"] > 0, "the GPU to look busy")
    await until(lambda: sim.claim()["sm_percent"] == 0, "the GPU to look idle")
