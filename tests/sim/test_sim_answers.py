"""Every inference route answers in vLLM's shape, whole and streamed."""

import base64
import json

import aiohttp
import pytest

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
ASK = {"model": "tiny", "prompt": "hi"}


async def events(answer):
    """The events of a stream as (name, data); [DONE] comes as it is."""
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    read = []
    for block in (await answer.text()).removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = fields["data"]
        read.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
    return read


async def test_chat(client):
    async with client.post("/v1/chat/completions", json=CHAT) as answer:
        body = await answer.json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "tiny"
    assert body["choices"][0]["message"]["content"].startswith("Hello from a simulated engine")
    assert body["choices"][0]["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == len(body["choices"][0]["message"]["content"].split())


async def test_streamed_chat_says_the_same_as_a_whole_one(client):
    async with client.post("/v1/chat/completions", json=CHAT) as answer:
        whole = (await answer.json())["choices"][0]["message"]["content"]
    async with client.post("/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
        read = await events(answer)
    assert read[-1] == (None, "[DONE]")
    choices = [data["choices"][0] for _, data in read[:-1]]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(choice["delta"]["content"] for choice in choices) == whole
    assert [choice["finish_reason"] for choice in choices[-2:]] == [None, "stop"]
    assert not any("usage" in data for _, data in read[:-1])


async def test_stream_tells_usage_when_asked(client):
    asked = CHAT | {"stream": True, "max_tokens": 3, "stream_options": {"include_usage": True}}
    async with client.post("/v1/chat/completions", json=asked) as answer:
        *chunks, (_, last), _ = await events(answer)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 3
    assert not any("usage" in data for _, data in chunks)


async def test_stream_tells_usage_in_every_chunk_when_asked(client):
    options = {"include_usage": True, "continuous_usage_stats": True}
    asked = CHAT | {"stream": True, "max_tokens": 3, "stream_options": options}
    async with client.post("/v1/chat/completions", json=asked) as answer:
        read = await events(answer)
    assert [data["usage"]["completion_tokens"] for _, data in read[:-1]] == [0, 1, 2, 3, 3]


async def test_request_id_names_the_answer(client):
    async with client.post("/v1/chat/completions", json=CHAT, headers={"X-Request-Id": "mine"}) as answer:
        assert (await answer.json())["id"] == "chatcmpl-mine"


async def test_completion_has_sixteen_tokens_by_default(client):
    async with client.post("/v1/completions", json=ASK) as answer:
        body = await answer.json()
    assert body["object"] == "text_completion"
    assert body["usage"]["completion_tokens"] == len(body["choices"][0]["text"].split()) == 16
    assert body["choices"][0]["finish_reason"] == "length"


async def test_completion_streams_text(client):
    async with client.post("/v1/completions", json=ASK | {"max_tokens": 4, "stream": True}) as answer:
        read = await events(answer)
    assert "".join(data["choices"][0]["text"] for _, data in read[:-1]) == "Hello from a simulated"


async def test_answer_is_as_long_as_asked(client):
    async with client.post("/v1/chat/completions", json=CHAT | {"max_completion_tokens": 500}) as answer:
        body = await answer.json()
    assert len(body["choices"][0]["message"]["content"].split()) == 500


async def test_ignored_end_fills_the_context(client):
    async with client.post("/v1/chat/completions", json=CHAT | {"ignore_eos": True}) as answer:
        body = await answer.json()
    assert body["usage"]["total_tokens"] == 8192
    assert body["choices"][0]["finish_reason"] == "length"


async def test_responses(client):
    asked = {"model": "tiny", "input": "hi", "max_output_tokens": 3}
    async with client.post("/v1/responses", json=asked) as answer:
        body = await answer.json()
    assert (body["object"], body["status"]) == ("response", "incomplete")
    assert body["output"][0]["content"][0]["text"] == "Hello from a"
    assert body["usage"]["output_tokens"] == 3


async def test_responses_stream_named_events_in_sequence(client):
    asked = {"model": "tiny", "input": "hi", "max_output_tokens": 2, "stream": True}
    async with client.post("/v1/responses", json=asked) as answer:
        read = await events(answer)
    assert [name.removeprefix("response.") for name, _ in read] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [data["sequence_number"] for _, data in read] == list(range(10))
    assert all(name == data["type"] for name, data in read)
    assert read[-1][1]["response"]["usage"]["output_tokens"] == 2


async def test_messages(client):
    async with client.post("/v1/messages", json=CHAT | {"max_tokens": 3}) as answer:
        body = await answer.json()
    assert (body["type"], body["stop_reason"]) == ("message", "max_tokens")
    assert body["content"] == [{"type": "text", "text": "Hello from a"}]
    assert body["usage"]["output_tokens"] == 3


async def test_messages_stream_named_events(client):
    async with client.post("/v1/messages", json=CHAT | {"max_tokens": 2, "stream": True}) as answer:
        read = await events(answer)
    assert [name for name, _ in read] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert read[-2][1]["usage"]["output_tokens"] == 2


async def test_messages_count_tokens(client):
    async with client.post("/v1/messages/count_tokens", json=CHAT) as answer:
        assert (await answer.json())["input_tokens"] == 5


@pytest.mark.parametrize(
    ("path", "asked", "kind", "key"),
    [
        ("/v1/embeddings", {"input": ["a", "b"]}, "embedding", "embedding"),
        ("/pooling", {"input": ["a", "b"]}, "pooling", "data"),
        ("/classify", {"input": ["a", "b"]}, "classify", "probs"),
        ("/score", {"text_1": "q", "text_2": ["a", "b"]}, "score", "score"),
        ("/v1/score", {"text_1": "q", "text_2": ["a", "b"]}, "score", "score"),
    ],
)
async def test_pooling_routes_list_one_entry_for_each_input(client, path, asked, kind, key):
    async with client.post(path, json=asked | {"model": "tiny"}) as answer:
        body = await answer.json()
    assert [(entry["index"], entry["object"]) for entry in body["data"]] == [(0, kind), (1, kind)]
    assert all(key in entry for entry in body["data"])
    assert body["usage"]["prompt_tokens"] == 2


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
async def test_rerank_sorts_by_relevance(client, path):
    asked = {"model": "tiny", "query": "q", "documents": ["a", "z", "m"], "top_n": 2}
    async with client.post(path, json=asked) as answer:
        results = (await answer.json())["results"]
    assert [result["index"] for result in results] == [1, 2]


async def test_tokens_turn_into_the_text_they_came_from(client):
    text = "Grüße, 你好\0!"
    async with client.post("/tokenize", json=ASK | {"prompt": text}) as answer:
        body = await answer.json()
    assert body["count"] == len(body["tokens"])
    async with client.post("/detokenize", json={"tokens": body["tokens"]}) as answer:
        assert await answer.json() == {"prompt": text}


def upload(**fields):
    form = aiohttp.FormData(fields | {"model": "tiny"})
    form.add_field("file", b"\0" * 64_000, filename="two-seconds.wav")
    return form


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/audio/transcriptions", "transcription.chunk"), ("/v1/audio/translations", "translation.chunk")],
)
async def test_audio_is_taken_as_an_upload(client, path, kind):
    async with client.post(path, data=upload()) as answer:
        body = await answer.json()
    assert body["usage"] == {"type": "duration", "seconds": 2}
    async with client.post(path, data=upload(stream="true")) as answer:
        read = await events(answer)
    assert read[0][1]["object"] == kind
    assert "".join(data["choices"][0]["delta"]["content"] for _, data in read[:-1]) == body["text"]


async def test_audio_without_a_file_is_refused(client):
    async with client.post("/v1/audio/transcriptions", json=CHAT) as answer:
        assert answer.status == 400


async def test_realtime_answers_sound_with_words(client, sim):
    async with client.ws_connect("/v1/realtime") as socket:
        assert (await socket.receive_json())["type"] == "session.created"
        await socket.send_json({"type": "session.update", "model": "tiny"})
        sound = base64.b64encode(b"\0" * 320).decode()
        words = []
        for _ in range(3):
            await socket.send_json({"type": "input_audio_buffer.append", "audio": sound})
            words.append((await socket.receive_json())["delta"])
        assert await sim.metric("vllm:num_requests_running") == 1
        await socket.send_json({"type": "input_audio_buffer.commit", "final": True})
        done = await socket.receive_json()
    assert done["type"] == "transcription.done"
    assert done["text"] == "".join(words) == "Hello from a"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("no json", "invalid_json"),
        ('{"type": "session.update", "model": "other"}', "model_not_found"),
        ('{"type": "input_audio_buffer.append", "audio": "*"}', "invalid_audio"),
        ('{"type": "input_audio_buffer.commit"}', "model_not_validated"),
        ('{"type": "what"}', "unknown_event"),
    ],
)
async def test_realtime_explains_a_bad_event(client, sent, code):
    async with client.ws_connect("/v1/realtime") as socket:
        await socket.receive_json()
        await socket.send_str(sent)
        assert (await socket.receive_json())["code"] == code
