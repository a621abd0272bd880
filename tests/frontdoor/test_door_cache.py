"""The answer cache at the front door, before an engine that is scripted byte by byte."""

import asyncio
import json
import logging
from datetime import timedelta

import pytest
from fakes.answers import FakeStore
from fakes.clock import START
from scripted_engine import MODEL, obliging
from wire import CHAT, soon, until

from costctl.daemon.frontdoor.caching import AnswerCache
from costctl.daemon.frontdoor.copies import LARGEST_ANSWER
from costctl.domain.caching import CacheRules
from costctl.domain.lifecycle import EngineState
from costctl.domain.stored_answers import Tokens

ASKED = {"model": MODEL, "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
BODY = json.dumps(ASKED).encode()
STREAM = json.dumps(ASKED | {"stream": True}).encode()
ANSWER = json.dumps(
    {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
).encode()
TOKEN = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"


class Time:
    """A clock's two hands (of port Clock), moved by hand; this event loop cannot be asked what FakeClock asks it."""

    def __init__(self):
        self.passed_s = 0.0

    def now(self):
        return START + timedelta(seconds=self.passed_s)

    def monotonic(self):
        return self.passed_s

    def pass_by(self, seconds):
        self.passed_s += seconds


class Book:
    """What the cache counted."""

    def __init__(self):
        self.found, self.missed = [], 0

    def answer_found(self, model, tokens):
        assert model == MODEL
        self.found.append(tokens)

    def answer_missed(self, model):
        self.missed += 1


class Cached:
    """A cache with everything around it."""

    def __init__(self, **rules):
        self.store, self.book, self.clock = FakeStore(), Book(), Time()
        self.revision = "one"
        self.cache = AnswerCache(
            store=self.store,
            rules=CacheRules(**{"models": frozenset("*")} | rules),
            revision=lambda: self.revision,
            book=self.book,
            model=MODEL,
            clock=self.clock,
            patience_s=0.05,
        )

    async def has(self, entries):
        await until(lambda: len(self.store.entries) == entries, f"{entries} answers in the store")


@pytest.fixture
def cached():
    return Cached()


@pytest.fixture
async def door(open_door, cached, engine):
    opened = await open_door(cache=cached.cache, ready=False)
    opened.warm = True
    opened.supervisor.listen(cached.cache.lifecycle_changed)
    engine.script = answering
    return opened


async def answering(exchange):
    await exchange.body()
    exchange.answer(ANSWER)


async def streaming(exchange):
    await exchange.body()
    exchange.begin_stream()
    for chunk in (TOKEN, TOKEN + TOKEN, DONE):
        exchange.chunk(chunk)
        await exchange.writer.drain()
        await asyncio.sleep(0.01)
    exchange.end_stream()


async def ask(door, body=BODY, *, headers=(), path=CHAT):
    async with door.raw() as wire:
        wire.post(body, path=path, headers=headers)
        return await wire.answer()


def of_cache(answer):
    return answer.get("X-Costctl-Cache")


async def test_the_second_time_the_engine_is_not_asked(door, engine, cached):
    first = await ask(door)
    await cached.has(1)
    second = await ask(door, json.dumps(dict(reversed(ASKED.items())) | {"user": "u"}).encode())
    assert (of_cache(first), of_cache(second)) == ("miss", "hit")
    assert first.body == second.body == ANSWER
    assert second.get("Content-Type") == first.get("Content-Type")
    assert len(engine.requests) == 1
    assert (cached.book.found, cached.book.missed) == ([Tokens(prompt=5, generation=2)], 1)
    assert cached.cache.status()["hit_rate"] == 0.5
    assert door.served.models == [MODEL]


async def test_a_hit_neither_wakes_the_engine_nor_is_activity(door, cached):
    await ask(door)
    await cached.has(1)
    door.supervisor.stop("test")
    assert await soon(door.supervisor.settled()) is EngineState.OFF
    before = door.state
    assert of_cache(await ask(door)) == "hit"
    assert door.state == before
    assert len(door.runs) == 1


async def test_a_stream_is_replayed_chunk_by_chunk(door, engine, cached):
    engine.script = streaming
    first = await ask(door, STREAM)
    await cached.has(1)
    second = await ask(door, STREAM)
    assert (of_cache(first), of_cache(second)) == ("miss", "hit")
    assert second.body == first.body == TOKEN * 3 + DONE
    for name in "Content-Type", "Transfer-Encoding", "X-Accel-Buffering":
        assert second.get(name) == first.get(name)
    assert len(engine.requests) == 1
    assert cached.book.found == [Tokens(generation=2)]


async def test_a_stream_whose_client_leaves_at_its_end_is_kept(door, engine, cached):
    async def lingering(exchange):
        await exchange.body()
        exchange.begin_stream()
        exchange.chunk(TOKEN)
        exchange.chunk(DONE)
        await exchange.left()

    engine.script = lingering
    async with door.raw() as wire:
        wire.post(STREAM)
        await soon(wire.reader.readuntil(DONE))
    await cached.has(1)


async def test_a_stream_whose_client_leaves_in_the_middle_is_not(door, engine, cached):
    async def endless(exchange):
        await exchange.body()
        exchange.begin_stream()
        exchange.chunk(TOKEN)
        await exchange.left()

    engine.script = endless
    async with door.raw() as wire:
        wire.post(STREAM)
        await soon(wire.reader.readuntil(TOKEN))
    await door.quiet()
    assert cached.store.entries == {}


async def test_an_engine_that_dies_leaves_nothing_in_the_cache(door, engine, cached):
    async def dying(exchange):
        await exchange.body()
        exchange.begin_stream()
        exchange.chunk(TOKEN)
        await exchange.writer.drain()
        exchange.die()

    engine.script = dying
    answer = await ask(door, STREAM)
    assert b"engine_died" in answer.body
    engine.script = answering
    assert of_cache(await ask(door)) == "miss"
    await cached.has(1)


@pytest.mark.parametrize(
    "how",
    [
        {"status": "400 Bad Request"},
        {"body": b'{"error": {"message": "no"}}'},
        {"headers": ("Content-Type: application/json", "Content-Encoding: gzip")},
        {"headers": ("Content-Type: text/plain",)},
        {"body": b"{}" + b" " * LARGEST_ANSWER},
    ],
)
async def test_only_whole_plain_answers_of_some_size_are_kept(door, engine, cached, how):
    async def odd(exchange):
        await exchange.body()
        exchange.answer(**{"body": ANSWER} | how)

    engine.script = odd
    await ask(door)
    await ask(door)
    assert len(engine.requests) == 2
    assert cached.store.entries == {}


async def test_an_answer_is_good_for_its_time(door, engine, cached):
    await ask(door)
    await cached.has(1)
    cached.clock.pass_by(3599)
    assert of_cache(await ask(door)) == "hit"
    cached.clock.pass_by(1)
    assert of_cache(await ask(door)) == "miss"
    assert len(engine.requests) == 2


async def test_the_header_bypasses_and_refreshes(door, engine, cached):
    await ask(door)
    await cached.has(1)
    (before,) = cached.store.entries.values()
    assert of_cache(await ask(door, headers=("x-costctl-cache: bypass",))) is None
    assert list(cached.store.entries.values()) == [before]
    cached.clock.pass_by(10)
    assert of_cache(await ask(door, headers=("x-costctl-cache: refresh",))) == "miss"
    await until(lambda: list(cached.store.entries.values()) != [before], "the new answer")
    assert len(engine.requests) == 3


async def test_with_another_engine_old_answers_are_not_given(door, engine, cached):
    await ask(door)
    await cached.has(1)
    door.supervisor.stop("test")
    await soon(door.supervisor.settled())
    cached.revision = "two"
    await door.start_engine()
    assert of_cache(await ask(door)) == "miss"
    await cached.has(2)


async def test_what_changes_on_the_disk_while_the_engine_is_off_counts_before_it_starts(door, engine, cached):
    await ask(door)
    await cached.has(1)
    cached.revision = "two"
    cached.clock.pass_by(60)
    assert of_cache(await ask(door)) == "hit", "the engine that is up is still the first"
    door.supervisor.stop("test")
    await soon(door.supervisor.settled())
    assert of_cache(await ask(door)) == "miss"
    assert len(door.runs) == 2


async def test_all_keys_share_the_cache_but_for_what_a_salt_keeps_apart(open_door, engine, cached):
    door = await open_door(cache=cached.cache, keys=("k", "l"))
    engine.script = answering
    await ask(door, headers=("Authorization: Bearer k",))
    await cached.has(1)
    assert of_cache(await ask(door, headers=("Authorization: Bearer l",))) == "hit"
    salted = json.dumps(ASKED | {"cache_salt": "l"}).encode()
    assert of_cache(await ask(door, salted, headers=("Authorization: Bearer l",))) == "miss"


async def test_http_says_it_too(door, engine, cached):
    await ask(door)
    await cached.has(1)
    assert of_cache(await ask(door, headers=("Cache-Control: no-cache",))) == "miss"
    assert of_cache(await ask(door, headers=("Cache-Control: no-store",))) is None
    assert of_cache(await ask(door)) == "hit"
    assert len(engine.requests) == 3


async def test_keys_are_asked_for_before_the_cache(open_door, engine, cached):
    door = await open_door(cache=cached.cache, keys=("k",))
    assert (await ask(door)).status == 401
    assert cached.store.calls == 0


async def test_a_store_that_fails_costs_nothing_but_hits_and_is_said_once(door, engine, cached, caplog):
    caplog.set_level(logging.WARNING)
    cached.store.trouble = "the disk is full"
    for _ in range(5):
        assert (await ask(door)).body == ANSWER
    assert len(engine.requests) == 5
    assert cached.store.calls == 1, "it is left alone for a while"
    assert [record.message for record in caplog.records] == [
        "trouble with the answer cache, requests go to the engine: the disk is full"
    ]
    assert cached.cache.problem == "requests go to the engine: the disk is full"
    cached.store.trouble = None
    cached.clock.pass_by(11)
    await ask(door)
    await cached.has(1)
    assert of_cache(await ask(door)) == "hit"
    assert cached.cache.problem is None


async def test_a_store_that_is_full_still_answers_and_is_said_once(door, engine, cached, caplog):
    caplog.set_level(logging.WARNING)
    await ask(door)
    await cached.has(1)
    cached.store.full = "the disk is full"
    for number in range(4):
        assert of_cache(await ask(door, json.dumps(ASKED | {"seed": number}).encode())) == "miss"
        assert of_cache(await ask(door)) == "hit"
        cached.clock.pass_by(11)
    assert [record.message for record in caplog.records] == [
        "trouble with the answer cache, new answers are not kept: the disk is full"
    ]
    assert cached.cache.problem == "new answers are not kept: the disk is full"
    cached.store.full = None
    await ask(door, json.dumps(ASKED | {"seed": 4}).encode())
    await cached.has(2)
    await until(lambda: cached.cache.problem is None, "the trouble to be over")


async def test_a_store_that_hangs_holds_up_nobody_for_long(door, engine, cached):
    cached.store.hold()
    try:
        answers = await soon(asyncio.gather(*(ask(door) for _ in range(20))))
        assert {answer.body for answer in answers} == {ANSWER}
        assert "no answer within 0.05 s" in cached.cache.problem
    finally:
        cached.store.go()


async def test_a_spoilt_entry_is_written_over(door, engine, cached):
    await ask(door)
    await cached.has(1)
    (key,) = cached.store.entries
    cached.store.entries[key] = b"spoilt"
    assert of_cache(await ask(door)) == "miss"
    await until(lambda: cached.store.entries[key] != b"spoilt", "the entry to be written over")
    assert cached.cache.problem is None


async def test_equal_requests_in_flight_are_not_merged(door, engine, cached):
    answers = await asyncio.gather(*(ask(door) for _ in range(3)))
    assert {of_cache(answer) for answer in answers} == {"miss"}
    assert len(engine.requests) == 3


async def test_what_is_no_request_goes_to_the_engine_untouched(door, engine, cached):
    engine.script = obliging
    for body in b"", b"{", b"\xff", b'{"temperature": NaN}':
        assert (await ask(door, body)).status == 200
    assert cached.store.calls == 0


async def test_the_store_is_let_go_at_the_end(door, cached):
    await ask(door)
    await door.door.close()
    assert cached.store.closed
    assert (await ask(door)).status == 200
