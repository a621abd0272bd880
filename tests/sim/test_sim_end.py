"""Stopping, crashing, dying: what clients, the exit code and the process table show."""

import asyncio
import os
import signal
import time

import aiohttp
import pytest
from running_sim import ENDLESS, is_at, stream

ASK = {"prompt": "hi", "max_tokens": 4}
BROKEN_OFF = (
    'data: {"error":{"message":"EngineCore encountered an issue. See stack trace (above) for the root cause.",'
    '"type":"InternalServerError","param":null,"code":500}}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_idle_stop_is_clean_and_quick(launch, number):
    sim = await launch().ready()
    core = sim.core()
    began = time.monotonic()
    sim.process.send_signal(number)
    assert await sim.ended() == 0
    assert time.monotonic() - began < 2
    assert not core.is_running()
    assert sim.claim() is None


async def test_stop_breaks_streams_off_with_an_error_event(launch):
    sim = await launch("--tokens-per-second", "50").ready()
    async with stream(sim) as answer:
        sim.process.terminate()
        assert (await answer.text()).endswith(BROKEN_OFF)
    assert await sim.ended() == 0


async def test_stop_tells_an_open_conversation(launch):
    sim = await launch().ready()
    async with sim.session() as client, client.ws_connect("/v1/realtime") as socket:
        await socket.send_json({"type": "input_audio_buffer.append", "audio": "AAAA"})
        assert [(await socket.receive_json())["type"] for _ in range(2)] == ["session.created", "transcription.delta"]
        sim.process.terminate()
        assert (await socket.receive_json())["type"] == "error"
    assert await sim.ended() == 0


async def test_stop_answers_500_to_what_is_not_streamed(launch):
    sim = await launch("--tokens-per-second", "50").ready()
    async with sim.session() as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=ENDLESS))
        await is_at(sim, "vllm:num_requests_running", 1)
        sim.process.terminate()
        async with await asking as answer:
            assert answer.status == 500
    assert await sim.ended() == 0


async def test_drain_finishes_requests_and_refuses_new_ones(launch):
    sim = await launch("--shutdown-timeout", "30", "--tokens-per-second", "50").ready()
    async with sim.session() as client:
        asking = asyncio.create_task(client.post("/v1/completions", json=ASK | {"max_tokens": 20}))
        await is_at(sim, "vllm:num_requests_running", 1)
        sim.process.terminate()
        await sim.said("mode=drain timeout=30s")
        async with client.post("/v1/completions", json=ASK) as answer:
            assert answer.status == 500
            assert "cannot schedule new futures after shutdown" in await answer.text()
        async with client.get("/health") as answer:
            assert answer.status == 200
        async with await asking as answer:
            assert (await answer.json())["usage"]["completion_tokens"] == 20
    assert await sim.ended() == 0


async def test_drain_has_an_end(launch):
    sim = await launch("--shutdown-timeout", "0.1", "--tokens-per-second", "20").ready()
    async with stream(sim) as answer:
        sim.process.terminate()
        assert (await answer.text()).endswith(BROKEN_OFF)
    assert await sim.ended() == 0


async def test_ignored_sigterm(launch):
    sim = await launch("--fail", "ignore-sigterm").ready()
    sim.process.terminate()
    async with sim.session() as client, client.get("/health") as answer:
        assert answer.status == 200
    assert sim.process.poll() is None


async def test_core_outlives_a_killed_api_server(launch):
    sim = await launch().ready()
    core = sim.core()
    sim.process.kill()
    assert await sim.ended() == -signal.SIGKILL
    assert core.is_running()
    assert sim.claim()["pid"] == core.pid


async def test_core_left_behind_by_a_clean_stop(launch):
    sim = await launch("--fail", "leave-core").ready()
    core = sim.core()
    sim.process.terminate()
    assert await sim.ended() == 0
    assert core.is_running()


async def test_core_that_leaves_the_process_group(launch):
    sim = await launch("--fail", "escape-core").ready()
    assert os.getpgid(sim.core().pid) != sim.pid


async def test_death_of_the_core_is_told_and_ends_with_code_0(launch):
    sim = await launch("--tokens-per-second", "50").ready()
    async with sim.session() as client, stream(sim) as answer:
        sim.core().kill()
        assert (await answer.text()).endswith(BROKEN_OFF)
        async with client.get("/health") as health:
            assert health.status == 503
    assert await sim.ended() == 0
    assert "EngineDeadError" in sim.log


@pytest.mark.parametrize("streamed", [True, False])
async def test_crash_in_the_middle_of_a_request(launch, streamed):
    sim = await launch("--fail", "crash-after:2").ready()
    async with sim.session() as client:
        async with client.post("/v1/completions", json=ASK) as answer:
            assert answer.status == 200
        async with client.post("/v1/completions", json=ASK | {"stream": streamed}) as answer:
            text = await answer.text()
    assert answer.status == (200 if streamed else 500)
    assert "EngineCore encountered an issue" in text
    assert text.count('"text"') == (2 if streamed else 0)
    assert await sim.ended() == 0
    assert "torch.AcceleratorError: CUDA error" in sim.log


async def test_crash_as_soon_as_it_is_ready(launch):
    sim = launch("--fail", "crash-after:0")
    assert await sim.ended() == 0
    assert "Application startup complete" in sim.log


async def test_stream_that_breaks_without_a_word(launch):
    sim = await launch("--fail", "kill-stream:3").ready()
    received = bytearray()

    async def read():
        async with sim.session() as client, client.post("/v1/completions", json=ASK | {"stream": True}) as answer:
            async for piece in answer.content.iter_any():
                received.extend(piece)

    with pytest.raises(aiohttp.ClientPayloadError):
        await read()
    assert received.count(b'"text"') == 3
    assert b"[DONE]" not in received
    assert await sim.ended() == 1
    assert sim.core().is_running()


async def test_zombie_is_healthy_and_never_answers(launch):
    sim = await launch("--fail", "zombie").ready()
    async with sim.session() as client:
        asking = asyncio.create_task(client.post("/v1/completions", json=ASK))
        await is_at(sim, "vllm:num_requests_running", 1)
        async with client.get("/health") as answer:
            assert answer.status == 200
        assert not asking.done()
        asking.cancel()
    await is_at(sim, "vllm:num_requests_running", 0)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
async def test_error_500(launch, path):
    sim = await launch("--fail", "error500").ready()
    async with sim.session() as client, client.post(path, json=ASK | {"input": "hi"}) as answer:
        assert answer.status == 500
        assert (await answer.json())["error"]["type"] == "InternalServerError"


async def test_slow_health(launch):
    sim = launch("--fail", "slow-health:60")
    await sim.listens()
    async with sim.session() as client:

        async def ask():
            async with asyncio.timeout(0.3):
                await client.get("/health")

        with pytest.raises(TimeoutError):
            await ask()
