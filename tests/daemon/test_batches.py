"""Leases in the daemon, without their connections."""

import pytest
from fakes.clock import settle

from costctl.daemon.supervisor import Refusal
from costctl.domain.batches import Lease, Progress, Then, Wish, may_begin, read_progress, read_wish
from costctl.errors import BadValueError


def wish(name="jobs", **more):
    return Wish(name=name, lines=100, **more)


def rows(bench):
    assert bench.writer.flush(10.0)
    assert bench.ledger.check() == []
    return bench.ledger.batches(bench.opening.session_id)


async def verdict(bench):
    """What the idle policy says once it has looked."""
    evidence = [*await bench.machine.activity.read(), bench.batches.evidence()]
    return bench.supervisor.consider(evidence)


async def test_a_batch_runs_at_once_and_its_work_is_in_the_ledger(bench):
    opened = bench.batches.ask(wish())
    await bench.clock.advance(30)
    done = Progress(requests=40, failed=2, prompt_tokens=400, generation_tokens=900)
    bench.batches.progressed(opened, done)
    bench.batches.end(opened)
    (row,) = rows(bench)
    assert (row.name, row.requests, row.failed_requests) == ("jobs", 40, 2)
    assert (row.prompt_tokens, row.generation_tokens) == (400, 900)
    assert (row.ended_at - row.started_at).total_seconds() == 30


async def test_batches_wait_for_each_other_in_their_order(bench):
    first, second, third = (bench.batches.ask(wish(name)) for name in ("a", "b", "c"))
    assert [bench.batches.place(each) for each in (first, second, third)] == [0, 1, 2]
    second.changed.clear()
    bench.batches.end(first)
    assert second.changed.is_set()
    assert [bench.batches.place(each) for each in (second, third)] == [0, 1]
    bench.batches.end(third)  # gives up while it waits: there is nothing to write down
    bench.batches.end(second)
    assert [row.name for row in rows(bench)] == ["a", "b"]


async def test_a_batch_that_shares_does_not_wait_and_nobody_waits_for_it(bench):
    bench.batches.ask(wish("a"))
    sharing = bench.batches.ask(wish("b", shares=True))
    assert bench.batches.place(sharing) == 0
    assert [each["state"] for each in bench.batches.read()] == ["running", "running"]
    assert [lease.wish.name for lease in may_begin([Lease(number=1, wish=wish("c"), asked_at=0)])] == ["c"]


async def test_a_batch_keeps_the_instance_up_as_long_as_it_makes_progress(bench):
    opened = bench.batches.ask(wish(no_progress_s=600.0))
    for requests in range(1, 8):
        await bench.clock.advance(500)
        bench.batches.progressed(opened, Progress(requests=requests))
        assert (await verdict(bench)).reason == "batches: jobs"
    await bench.clock.advance(600)
    bench.batches.progressed(opened, Progress(requests=7))  # a report, but no progress
    assert not bench.batches.evidence().active
    bench.batches.look(opened)
    assert "no progress for 10m" in opened.cancelled
    assert (await verdict(bench)).stop_at is not None


async def test_a_batch_ends_at_its_timeout_however_much_progress_it_makes(bench):
    opened = bench.batches.ask(wish(timeout_s=60.0))
    bench.batches.look(opened)
    assert opened.cancelled is None
    await bench.clock.advance(60)
    bench.batches.progressed(opened, Progress(requests=7))
    bench.batches.look(opened)
    assert "--timeout" in opened.cancelled


async def test_the_time_in_the_queue_is_not_counted(bench):
    first = bench.batches.ask(wish())
    second = bench.batches.ask(wish("b", timeout_s=60.0, no_progress_s=60.0))
    await bench.clock.advance(1000)
    bench.batches.look(second)
    assert second.cancelled is None
    bench.batches.end(first)
    bench.batches.look(second)
    assert second.cancelled is None


async def test_a_batch_can_be_cancelled_by_its_number_and_no_other(bench):
    opened = bench.batches.ask(wish())
    assert not bench.batches.cancel(7)
    assert bench.batches.cancel(opened.lease.number)
    assert opened.cancelled == "costctl batch cancel"
    assert not bench.batches.evidence().active


async def test_unload_stops_the_engine_unless_it_has_other_work(bench):
    await bench.machine.get_ready()
    unload = wish(then=Then.UNLOAD)
    await bench.supervisor.enter()
    assert "other work" in bench.batches.carry_out(unload)
    bench.supervisor.leave()
    other = bench.batches.ask(wish("b"))
    assert "other work" in bench.batches.carry_out(unload)
    bench.batches.end(other)
    assert bench.batches.carry_out(unload) == "the engine is stopped"
    await settle()
    assert bench.supervisor.lifecycle.state == "off"


async def test_shutdown_is_asked_for_once_nobody_else_has_a_batch(bench):
    shutdown = wish(then=Then.SHUTDOWN)
    other = bench.batches.ask(wish("b"))
    assert "another batch" in bench.batches.carry_out(shutdown)
    bench.batches.end(other)
    bench.batches.carry_out(shutdown)
    assert bench.shutdowns == ["batch jobs is done (--then shutdown)"]


async def test_a_daemon_that_ends_begins_no_batch(bench):
    bench.supervisor.stop("test", closing=True)
    with pytest.raises(Refusal) as refused:
        bench.batches.ask(wish())
    assert refused.value.code == "shutting_down"


async def test_a_session_that_ends_ends_its_batches_rows_and_the_next_has_new_ones(bench):
    opened = bench.batches.ask(wish())
    await bench.clock.advance(10)
    bench.batches.progressed(opened, Progress(requests=5))
    bench.recorder.suspended()
    bench.batches.progressed(opened, Progress(requests=6))
    bench.recorder.reopen_session()
    bench.batches.progressed(opened, Progress(requests=9))
    bench.batches.end(opened)
    assert [row.requests for row in rows(bench)] == [5, 3]


@pytest.mark.parametrize(
    ("ending", "outcome"), [("is_complete", "done"), (None, "interrupted"), ("cancelled", "cancelled")]
)
async def test_the_ledger_knows_how_work_on_a_batch_ended(bench, ending, outcome):
    opened = bench.batches.ask(wish())
    if ending is not None:
        setattr(opened, ending, "why")
    bench.batches.end(opened)
    assert [row.outcome for row in rows(bench)] == [outcome]


async def test_how_far_a_batch_is_is_written_with_every_heartbeat(bench):
    opened = bench.batches.ask(wish())
    bench.batches.progressed(opened, Progress(requests=5, failed=1))
    assert rows(bench)[0].requests == 0
    bench.recorder.beat()
    (row,) = rows(bench)
    assert (row.requests, row.failed_requests, row.ended_at) == (5, 1, None)
    bench.recorder.suspended()
    bench.recorder.reopen_session()
    bench.batches.progressed(opened, Progress(requests=8, failed=1))
    bench.recorder.beat()
    assert [(row.requests, row.outcome) for row in rows(bench)] == [(5, "interrupted"), (3, None)]


# --- the idle watch --------------------------------------------------------------------------------------------------


class Action:
    promise = "do it"

    def __init__(self):
        self.performed = 0

    async def perform(self):
        self.performed += 1


async def test_a_stop_that_is_wished_for_needs_no_idle_window(bench):
    action = Action()
    watching = bench.watch(action)
    await bench.machine.get_ready()
    await bench.one_request(2.0)
    bench.idle.stop_soon("batch jobs is done")
    await bench.clock.advance(0.5)
    assert watching.done()
    assert action.performed == 1
    assert bench.session().end_reason == "idle"


async def test_a_stop_that_is_wished_for_while_somebody_works_is_left_to_the_idle_window(bench):
    action = Action()
    watching = bench.watch(action)
    await bench.machine.get_ready()
    await bench.supervisor.enter()
    bench.idle.stop_soon("batch jobs is done")
    await bench.clock.advance(60)
    bench.supervisor.leave()
    await bench.clock.advance(60)
    assert not action.performed
    await bench.clock.advance(1800)
    assert watching.done()
    assert action.performed == 1


# --- what clients send -----------------------------------------------------------------------------------------------


def test_what_a_client_wishes_for_is_read():
    told = {"name": "jobs", "lines": 3, "then": "unload", "timeout_s": 5}
    assert read_wish(told) == Wish(name="jobs", lines=3, then=Then.UNLOAD, timeout_s=5.0)


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"name": None}, "name"),
        ({"name": 5}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 300}, "name"),
        ({"lines": None}, "lines"),
        ({"lines": "3"}, "lines"),
        ({"lines": 1.5}, "lines"),
        ({"lines": True}, "lines"),
        ({"lines": -1}, "lines"),
        ({"lines": 10**30}, "lines"),
        ({"then": "explode"}, "then"),
        ({"then": []}, "then"),
        ({"shares": "yes"}, "shares"),
        ({"no_progress_s": float("nan")}, "no_progress_s"),
        ({"no_progress_s": float("inf")}, "no_progress_s"),
        ({"no_progress_s": 0}, "no_progress_s"),
        ({"no_progress_s": None}, "no_progress_s"),
        ({"timeout_s": -1}, "timeout_s"),
        ({"timeout_s": "1h"}, "timeout_s"),
    ],
)
def test_what_is_no_batch_is_refused(told, word):
    with pytest.raises(BadValueError, match=f"this is no batch: {word}"):
        read_wish({"name": "jobs", "lines": 3, **told})


@pytest.mark.parametrize("told", [{"failed": -1}, {"failed": 4}, {"requests": float("inf")}, {"prompt_tokens": None}])
def test_what_is_no_progress_is_refused(told):
    with pytest.raises(BadValueError, match=r"no progress|cannot have done"):
        read_progress({"requests": 3, "failed": 0, "prompt_tokens": 0, "generation_tokens": 0, **told})


async def test_progress_does_not_go_back(bench):
    opened = bench.batches.ask(wish())
    bench.batches.progressed(opened, Progress(requests=5))
    with pytest.raises(BadValueError, match="less than before"):
        bench.batches.progressed(opened, Progress(requests=4))
    bench.batches.end(opened)
    assert [row.requests for row in rows(bench)] == [5]
