"""HTTP as clients speak it, also when they speak it badly."""

import asyncio
import gzip

import pytest
from wire import CHAT, head, read_head, soon, until

BAD = {
    "length and chunks": (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "chunks and length": (["Transfer-Encoding: chunked", "Content-Length: 5"], b"0\r\n\r\n"),
    "two lengths": (["Content-Length: 2", "Content-Length: 3"], b"{}"),
    "two lengths in one": (["Content-Length: 2, 3"], b"{}"),
    "negative length": (["Content-Length: -2"], b"{}"),
    "length with a sign": (["Content-Length: +2"], b"{}"),
    "length with a letter": (["Content-Length: 2x"], b"{}"),
    "unknown coding": (["Transfer-Encoding: identity, chunked, x"], b"0\r\n\r\n"),
    "space before the colon": (["Content-Length : 2"], b"{}"),
    "folded header": (["X-A: b\r\n c: d", "Content-Length: 2"], b"{}"),
    "nul in a header": (["X-A: b\0c", "Content-Length: 2"], b"{}"),
    "huge header": ([f"X-A: {'a' * 70_000}", "Content-Length: 2"], b"{}"),
}


@pytest.mark.parametrize("name", BAD)
async def test_ambiguous_framing_is_refused_before_the_engine(door, engine, name):
    headers, body = BAD[name]
    async with door.raw() as client:
        client.send(head("POST", CHAT, headers), body)
        answer = await client.answer()
        assert answer.status == 400
        assert answer.error["code"] == "bad_request"
        assert await client.ended() == b""
    assert not engine.requests


@pytest.mark.parametrize("start", ["GARBAGE", "POST /v1/chat/completions", "\x16\x03\x01\x02", "POST / HTTP/9.9"])
async def test_what_is_not_http_gets_an_error_or_is_cut_off(door, engine, start):
    async with door.raw() as client:
        client.send(f"{start}\r\n\r\n")
        assert b" 400 " in (await client.ended()).partition(b"\r\n")[0]
    assert not engine.requests


@pytest.mark.parametrize("chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}XX0\r\n\r\n", b"-1\r\n{}\r\n0\r\n\r\n"])
async def test_a_bad_chunk_is_a_bad_request(door, engine, chunks):
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Transfer-Encoding: chunked"]), chunks)
        answer = await client.answer()
        assert answer.status == 400
        assert answer.error["code"] == "bad_request"
    assert not engine.requests


async def test_a_bad_chunk_after_a_good_one_is_a_bad_request(door, engine, caplog):
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Transfer-Encoding: chunked"]), b"2\r\n{}\r\n")
        await until(lambda: door.listener._server.requests_count, "the request to be heard")
        client.send(b"zz\r\n")
        answer = await client.answer()
        assert answer.status == 400
        assert answer.error["code"] == "bad_request"
    assert not engine.requests
    assert "Traceback" not in caplog.text


async def test_pipelined_requests_are_answered_in_their_order(door, engine):
    async def echo(exchange):
        exchange.answer(await exchange.body())

    engine.script = echo
    async with door.raw() as client:
        bodies = [b'{"n":%d}' % n for n in range(8)]
        client.send(*(head("POST", CHAT, [f"Content-Length: {len(body)}"]) + body for body in bodies))
        assert [(await client.answer()).body for _ in bodies] == bodies


async def test_one_connection_serves_many_requests(door, engine):
    async with door.raw() as client:
        for _ in range(5):
            client.post()
            assert (await client.answer()).get("Connection") is None
    assert engine.connections == 1


async def test_a_client_that_wants_the_connection_closed_gets_that(door):
    async with door.raw() as client:
        client.post(headers=["Connection: close"])
        assert (await client.answer()).status == 200
        assert await client.ended() == b""


async def test_http_1_0_is_answered_without_chunks(door, engine):
    async def stream(exchange):
        await exchange.body()
        exchange.begin_stream()
        exchange.chunk(b"data: 1\n\n")
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.end_stream()

    engine.script = stream
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Content-Length: 2"], version="1.0"), b"{}")
        answer = await read_head(client.reader)
        assert answer.get("Transfer-Encoding") is None
        assert await client.ended() == b"data: 1\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/metrics", "/version"])
@pytest.mark.parametrize("ready", [True, False])
async def test_head_is_answered_like_get_without_the_body(open_door, engine, path, ready):
    door = await open_door(ready=ready)
    async with door.raw() as client:
        client.send(head("HEAD", path))
        answer = await client.answer(method="HEAD")
        assert answer.status == 200
        client.send(head("GET", "/health"))
        assert (await client.answer()).status == 200


async def test_a_client_that_waits_for_leave_to_send_gets_it(door, engine):
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Content-Length: 2", "Expect: 100-continue"]))
        assert (await client.answer()).status == 100
        client.send(b"{}")
        assert (await client.answer()).status == 200
    assert engine.requests[0].get("Expect") is None


async def test_a_client_of_http_1_0_gets_no_interim_answer(door, engine):
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Content-Length: 2", "Expect: 100-continue"], version="1.0"), b"{}")
        assert (await client.answer()).status == 200


async def test_an_unknown_expectation_is_refused(door, engine):
    async with door.raw() as client:
        client.send(head("POST", CHAT, ["Content-Length: 2", "Expect: miracles"]), b"{}")
        assert (await client.answer()).error["code"] == "bad_expectation"
    assert not engine.requests


async def test_a_request_that_offers_http_2_is_served_as_it_is(door, engine):
    offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]
    async with door.raw() as client:
        client.post(b'{"a":1}', headers=offer)
        assert (await client.answer()).status == 200
    (request,) = engine.requests
    assert request.body == b'{"a":1}'
    assert request.get("Upgrade") is None
    assert request.get("HTTP2-Settings") is None


async def test_what_concerns_one_connection_only_goes_no_further(door, engine):
    async def answer(exchange):
        await exchange.body()
        hop = ["Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Authenticate: x", "X-End: 2"]
        exchange.answer(headers=["Content-Type: application/json", *hop])

    engine.script = answer
    async with door.raw() as client:
        named = ["Connection: keep-alive, X-One", "Connection: x-two", "X-One: 1", "X-Two: 2", "X-Three: 3"]
        hop = ["TE: trailers", "Proxy-Authorization: x", "Proxy-Connection: x", "Keep-Alive: 5", "Trailer: X-Y"]
        client.post(headers=[*named, *hop])
        answered = await client.answer()
    (request,) = engine.requests
    for name in ("X-One", "X-Two", "TE", "Proxy-Authorization", "Proxy-Connection", "Keep-Alive", "Trailer"):
        assert request.get(name) is None, name
    assert request.get("X-Three") == "3"
    assert answered.get("X-End") == "2"
    for name in ("X-Hop", "Keep-Alive", "Proxy-Authenticate", "Connection"):
        assert answered.get(name) is None, name


async def test_headers_pass_with_their_repetitions_and_foreign_bytes(door, engine):
    async def answer(exchange):
        await exchange.body()
        exchange.answer(headers=["Content-Type: a/b", "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Request-Id: 7"])

    engine.script = answer
    async with door.raw() as client:
        client.post(headers=["X-A: 1", "X-A: 2", "X-B: caf\u00e9", "User-Agent: me", "Cookie: c=1"])
        answered = await client.answer()
        client.post()
        await client.answer()
    first, second = engine.requests
    assert (first.get("X-A"), first.get("User-Agent"), first.get("Cookie")) == ("1, 2", "me", "c=1")
    assert first.get("X-B").encode("latin-1") == "caf\u00e9".encode()
    assert (answered.get("Set-Cookie"), answered.get("X-Request-Id")) == ("a=1, b=2", "7")
    assert second.get("Cookie") is None
    assert second.get("User-Agent") is None


@pytest.mark.parametrize("query", ["x=\udcff", "x=\u00e9", "x=%zz&y={|}^`", "a=1#b", "x=%00", "?/../?", "x=[1]\\"])
async def test_a_query_of_any_kind_gets_an_answer(door, engine, query):
    async with door.raw() as client:
        client.send(head("POST", f"{CHAT}?{query}", ["Content-Length: 2"]), b"{}")
        assert (await client.answer()).status in (200, 400)


async def test_a_header_that_is_no_text_passes_or_is_refused(door, engine):
    async with door.raw() as client:
        client.post(headers=["X-A: \udcff\udcfe"])
        assert (await client.answer()).status in (200, 400)


async def test_a_header_of_the_engine_that_is_no_text_passes_or_is_refused(door, engine):
    async def answer(exchange):
        await exchange.body()
        exchange.send(b"HTTP/1.1 200 OK\r\nX-A: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}")

    engine.script = answer
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).status in (200, 502)


async def test_compressed_bodies_pass_as_they_are_both_ways(door, engine):
    packed_answer = gzip.compress(b'{"ok":true}')

    async def answer(exchange):
        await exchange.body()
        exchange.answer(packed_answer, headers=["Content-Type: application/json", "Content-Encoding: gzip"])

    engine.script = answer
    packed = gzip.compress(b'{"model":"x"}' * 100)
    async with door.raw() as client:
        client.post(packed, headers=["Content-Encoding: gzip", "Accept-Encoding: gzip"])
        answered = await client.answer()
    (request,) = engine.requests
    assert (request.body, request.get("Content-Encoding"), request.get("Accept-Encoding")) == (packed, "gzip", "gzip")
    assert (answered.body, answered.get("Content-Encoding")) == (packed_answer, "gzip")


@pytest.mark.parametrize(
    ("status", "body"), [("404 Not Found", b'{"error":1}'), ("429 Slow Down", b"{}"), ("204 No Content", b"")]
)
async def test_the_engines_own_status_is_passed_on(door, engine, status, body):
    async def answer(exchange):
        await exchange.body()
        exchange.answer(body, status=status)

    engine.script = answer
    async with door.raw() as client:
        client.post()
        answered = await client.answer()
        assert (answered.start, answered.body) == (f"HTTP/1.1 {status}", body)
        client.post()
        assert (await client.answer()).body == body


async def test_an_answer_of_any_size_passes_whole(door, engine):
    content = bytes(range(256)) * 8192

    async def answer(exchange):
        await exchange.body()
        exchange.answer(content)

    engine.script = answer
    async with door.raw() as client:
        client.post()
        answered = await client.answer()
        assert answered.get("Content-Length") == str(len(content))
        assert answered.body == content
        client.post()
        assert (await client.answer()).body == content


async def test_an_answer_without_a_length_ends_with_the_connection(door, engine):
    async def answer(exchange):
        await exchange.body()
        exchange.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it")
        exchange.writer.close()

    engine.script = answer
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).body == b"all of it"


async def test_a_head_that_comes_too_slowly_is_cut_off(open_door, engine):
    door = await open_door(heads={"head_timeout_s": 0.05})
    async with door.raw() as client:
        client.send("POST /v1/chat/completions HTTP/1.1\r\nHost:")
        assert await client.ended() == b""
    assert not engine.requests


async def test_a_kept_connection_without_a_request_is_closed(open_door):
    door = await open_door(heads={"keep_alive_s": 0.05})
    async with door.raw() as client:
        client.post()
        assert (await client.answer()).status == 200
        client.send("POST /v1")
        assert await client.ended() == b""


async def test_a_client_that_says_nothing_more_may_still_read(door, engine):
    answered = asyncio.Event()

    async def wait(exchange):
        await exchange.body()
        await answered.wait()
        exchange.answer()

    engine.script = wait
    async with door.raw() as client:
        client.post()
        await until(lambda: engine.requests, "the request")
        answered.set()
        assert (await soon(client.answer())).status == 200
