import asyncio
import random

import pytest
from fakes.clock import InlineThreads, settle
from running_batch import Bench, ok, status

from costctl.batch.retries import Tries
from costctl.batch.sender import AwayError, BrokenOffError
from costctl.errors import CostctlError


@pytest.fixture(autouse=True)
async def inline_threads():
    asyncio.get_running_loop().set_default_executor(InlineThreads())


async def test_all_lines_are_sent_once_and_counted():
    bench = Bench(20)
    bench.start()
    await bench.over()
    assert set(bench.post.sent.values()) == {1}
    assert {bench.book.outcome(line) for line in range(1, 21)} == {200}
    assert (bench.tally.requests, bench.tally.prompt_tokens, bench.tally.generation_tokens) == (20, 60, 100)
    assert bench.book.pending_count == 0


async def test_nothing_is_sent_before_the_turn_has_come():
    bench = Bench(5)
    task = asyncio.create_task(bench.runner.run(patience_s=5.0))
    bench.hear(state="queued")
    await bench.clock.advance(100)
    assert not bench.post.sent
    bench.hear()
    await bench.clock.advance(10)
    assert task.done()


async def test_no_more_are_in_flight_or_read_than_the_pace_allows():
    bench = Bench(100, first=4)
    bench.start()
    await bench.clock.advance(2.5)
    assert (bench.post.most_in_flight, bench.read) == (4, 13)
    bench.hear(running=4, waiting=0)
    await bench.clock.advance(0.1)
    assert bench.post.in_flight == 8
    await bench.over()


async def test_an_engine_that_starts_anew_is_approached_anew():
    bench = Bench(1000, first=4)
    bench.start()
    await settle()
    bench.hear(running=4, waiting=0)
    assert bench.runner.allowed == 8
    bench.hear(engine="starting")
    assert bench.runner.allowed == 4
    bench.runner.stop()
    await bench.over()


@pytest.mark.parametrize("code", [400, 404, 413, 422])
async def test_what_can_never_succeed_is_a_result_at_once(code):
    bench = Bench(3, lambda line, time: status(code) if line == 2 else ok())
    bench.start()
    await bench.over()
    assert bench.post.sent[2] == 1
    assert bench.book.outcome(2) == code
    assert (bench.tally.requests, bench.tally.failed) == (3, 1)


@pytest.mark.parametrize("trouble", [status(502), status(500), BrokenOffError("reset"), AwayError("gone")])
async def test_what_may_pass_is_tried_again_later(trouble):
    bench = Bench(3, lambda line, time: trouble if line == 2 and time < 3 else ok())
    bench.start()
    await bench.over()
    assert bench.post.sent == {1: 1, 2: 3, 3: 1}
    assert bench.book.outcome(2) == 200
    assert bench.tally.sent_again == 2


@pytest.mark.parametrize(
    ("trouble", "times", "outcome"),
    [(status(500), 3, 500), (status(502), 8, 502), (BrokenOffError("reset"), 8, "connection")],
)
async def test_a_line_that_breaks_whatever_it_meets_is_given_up(trouble, times, outcome):
    bench = Bench(3, lambda line, time: trouble if line == 2 else ok())
    bench.start()
    await bench.over()
    assert bench.post.sent[2] == times
    assert bench.book.outcome(2) == outcome


async def test_a_line_that_breaks_the_engine_takes_no_other_with_it():
    poison = 7

    def engine_that_breaks(line, time):
        """It breaks half a second after that line has come, and so do all that are there."""
        now = bench.clock.monotonic()
        broke = any(now - 1.0 <= came + 0.5 <= now for came in bench.post.sent_at[poison])
        return status(502) if broke else ok()

    bench = Bench(40, engine_that_breaks, first=32)
    bench.start()
    await bench.over()
    assert {line for line in range(1, 41) if bench.book.outcome(line) != 200} == {poison}
    assert bench.post.sent[poison] == 8
    assert max(times for line, times in bench.post.sent.items() if line != poison) <= 4


def test_lines_do_not_sleep_longer_than_they_have_a_reason_to():
    chance = random.Random(1)
    assert all(Tries(broken=7).pause_s(chance) <= 0.5 for _ in range(100)), "the next engine may be ready"
    assert all(2.0 < Tries(refused=9, asked_s=2.0).pause_s(chance) <= 2.5 for _ in range(100)), "the server knows"
    assert all(3.0 <= Tries(refused=9).pause_s(chance) <= 30.0 for _ in range(100))


async def test_a_daemon_that_is_back_is_found_within_two_seconds():
    bench = Bench(4, lambda line, time: AwayError("gone") if bench.clock.monotonic() < 1600 else ok())
    bench.start()
    await bench.clock.advance(600 + 3.5)
    assert len(bench.book.results) == 4
    await bench.over()


async def test_an_engine_that_is_busy_for_long_costs_no_line_and_slows_the_pace():
    bench = Bench(8, lambda line, time: status(503, retry_after_s=20) if bench.clock.monotonic() < 1900 else ok())
    bench.start()
    await bench.clock.advance(10)
    assert set(bench.post.sent.values()) == {1}  # nobody comes again before that
    assert bench.runner.allowed == 2
    await bench.over()
    assert {bench.book.outcome(line) for line in range(1, 9)} == {200}


async def test_lines_that_wait_to_be_sent_again_hold_their_places():
    bench = Bench(1000, lambda line, time: AwayError("gone"))
    bench.start()
    await bench.clock.advance(600)
    assert bench.read == 5  # four, and the one that waits for room
    bench.runner.stop()
    await bench.over()


async def test_the_same_request_is_computed_once():
    bench = Bench(10, repeats={5: 1, 9: 1, 10: 2})
    bench.start()
    await bench.over()
    assert not {5, 9, 10} & set(bench.post.sent)
    assert bench.book.copies == {5: 1, 9: 1, 10: 2}
    assert len(bench.book.results) == 10


async def test_lines_that_are_done_are_not_even_read():
    bench = Bench(10)
    for line in range(1, 8):
        bench.book.record(line, f"c{line}", ok().result)
    bench.start()
    await bench.over()
    assert bench.read == 3
    assert set(bench.post.sent) == {8, 9, 10}


async def test_a_stop_waits_for_lines_in_flight_and_sends_nothing_new():
    bench = Bench(100, takes_s=3.0)
    bench.start(patience_s=5.0)
    await settle()
    bench.runner.stop()
    await bench.over(within_s=3.5)
    assert len(bench.book.results) == 4
    assert bench.book.pending_count == 0


@pytest.mark.parametrize("again", [False, True])
async def test_lines_that_take_too_long_are_left_for_the_next_run(again):
    bench = Bench(100, takes_s=60.0)
    bench.start(patience_s=5.0)
    await settle()
    bench.runner.stop()
    if again:
        bench.runner.stop()
    await bench.over(within_s=0.5 if again else 5.5)
    assert not bench.book.results
    assert not bench.post.in_flight


async def test_results_that_cannot_be_kept_end_the_run():
    bench = Bench(100)
    bench.start()
    await bench.clock.advance(1.2)
    bench.book.fault = CostctlError("the disk is full")
    await bench.clock.advance(10)
    assert bench.task.done()
    with pytest.raises(CostctlError, match="the disk is full"):
        await bench.task
    assert len(bench.post.sent) < 20
