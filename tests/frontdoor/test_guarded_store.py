"""A store before which many stand, or which is in trouble: who waits, who is blamed, and what is said."""

import asyncio
import threading
import time

import pytest
from fakes.answers import FakeStore
from wire import soon, until

from costctl.daemon.frontdoor.guarded_store import GuardedStore
from costctl.errors import AnswerStoreError


class Time:
    """A clock's hand, moved by hand."""

    passed_s = 0.0

    def monotonic(self):
        return self.passed_s


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
async def guarded(clock):
    made = GuardedStore(FakeStore(), clock=clock, patience_s=0.5)
    yield made
    await made.close()


def failing(_):
    raise AnswerStoreError("it is broken")


async def test_many_who_ask_at_once_are_no_fault_of_the_store(guarded):
    def take_a_moment(_):
        time.sleep(0.02)  # the time that a store takes
        return "found"

    found = await soon(asyncio.gather(*(guarded.ask(take_a_moment) for _ in range(400))))
    assert found == ["found"] * 400
    assert guarded.problem is None


async def test_a_slow_store_is_asked_by_few_before_it_is_left_alone(guarded):
    go, asked = threading.Event(), []

    def hang(_):
        asked.append(1)
        go.wait(10)

    try:
        assert await soon(asyncio.gather(*(guarded.ask(hang) for _ in range(100)))) == [None] * 100
        assert len(asked) < 20
        assert guarded.problem == "requests go to the engine: a store: no answer within 0.5 s"
    finally:
        go.set()


async def test_what_was_under_way_before_the_trouble_does_not_end_it(guarded, clock):
    go, begun = threading.Event(), threading.Event()

    def wait(_):
        begun.set()
        go.wait(10)
        return "late"

    under_way = asyncio.create_task(guarded.ask(wait))
    await until(begun.is_set, "the first to ask")
    assert await guarded.ask(failing) is None
    go.set()
    assert await soon(under_way) == "late"
    assert guarded.problem == "requests go to the engine: it is broken"
    clock.passed_s = 11
    assert await guarded.ask(lambda _: "again") == "again"
    assert guarded.problem is None


async def test_what_is_kept_slowly_holds_up_nobody_who_asks(guarded):
    go, kept = threading.Event(), []
    try:
        for _ in range(20):
            guarded.behind(lambda _: go.wait(10), kept.append)
        assert await soon(guarded.ask(lambda _: "found")) == "found"
        assert kept == []
    finally:
        go.set()
    await until(lambda: kept == [True] * 20, "all to be kept")


async def test_one_who_leaves_takes_no_turn_with_him(guarded):
    go = threading.Event()
    try:
        leaving = [asyncio.create_task(guarded.ask(lambda _: go.wait(10))) for _ in range(30)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
    finally:
        go.set()
    assert await soon(guarded.ask(lambda _: "found")) == "found"
