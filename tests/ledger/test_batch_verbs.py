from datetime import UTC, datetime, timedelta

import pytest

from costctl.domain.batches import Outcome, Progress
from costctl.domain.sessions import EndReason, Phase
from costctl.errors import LedgerError

START = datetime(2026, 1, 31, tzinfo=UTC)
DONE = Progress(requests=3, failed=1, prompt_tokens=40, generation_tokens=50)


def after(minutes):
    return START + timedelta(minutes=minutes)


@pytest.fixture
def session_id(ledger, instance_id, price):
    return ledger.open_session(
        instance_id=instance_id, key="boot-1", started_at=START, at=START, price=price, phase=Phase.OFF
    )


@pytest.fixture
def batch_id(ledger, session_id):
    return ledger.begin_batch(session_id, name="jobs.jsonl", at=START)


def only(ledger, session_id):
    (batch,) = ledger.batches(session_id)
    assert ledger.check() == []
    done = Progress(
        requests=batch.requests,
        failed=batch.failed_requests,
        prompt_tokens=batch.prompt_tokens,
        generation_tokens=batch.generation_tokens,
    )
    return batch.ended_at, batch.outcome, done


def test_a_batch_is_begun_gets_on_and_is_ended(ledger, session_id, batch_id):
    assert only(ledger, session_id) == (None, None, Progress())
    ledger.batch_progressed(batch_id, Progress(requests=1))
    assert only(ledger, session_id) == (None, None, Progress(requests=1))
    ledger.end_batch(batch_id, at=after(60), done=DONE, outcome=Outcome.DONE)
    ledger.batch_progressed(batch_id, Progress(requests=9))
    assert only(ledger, session_id) == (after(60), "done", DONE)


def test_a_batch_that_is_not_there_cannot_end(ledger):
    with pytest.raises(LedgerError, match="no batch 7"):
        ledger.end_batch(7, at=START, done=DONE, outcome=Outcome.DONE)


def test_a_batch_cannot_end_before_it_began(ledger, session_id, batch_id):
    with pytest.raises(ValueError, match="cannot end"):
        ledger.end_batch(batch_id, at=after(-1), done=DONE, outcome=Outcome.DONE)
    assert ledger.batches(session_id)[0].ended_at is None


def test_a_daemon_that_comes_back_ends_what_the_one_before_left_open_as_lost(ledger, session_id, batch_id):
    ledger.batch_progressed(batch_id, DONE)
    ledger.heartbeat(session_id, after(10))
    ledger.resume_session(session_id, at=after(30), price=None)
    assert only(ledger, session_id) == (after(10), "lost", DONE)


def test_a_power_on_that_never_came_back_loses_its_batch_at_its_last_heartbeat(ledger, session_id, batch_id):
    ledger.heartbeat(session_id, after(10))
    ledger.close_lost_sessions(machine="box", except_key="boot-2")
    assert only(ledger, session_id) == (after(10), "lost", Progress())


def test_a_batch_that_began_after_the_last_heartbeat_is_lost_where_it_began(ledger, session_id):
    batch_id = ledger.begin_batch(session_id, name="jobs.jsonl", at=after(1))
    assert batch_id
    ledger.resume_session(session_id, at=after(30), price=None)
    assert only(ledger, session_id)[:2] == (after(1), "lost")


def test_what_has_ended_is_not_lost_with_its_session(ledger, session_id, batch_id):
    ledger.end_batch(batch_id, at=after(5), done=DONE, outcome=Outcome.DONE)
    ledger.close_session(session_id, at=after(60), reason=EndReason.IDLE)
    assert only(ledger, session_id) == (after(5), "done", DONE)


def test_the_newest_work_is_found_without_reading_what_lies_before(ledger, session_id):
    for minute, name in enumerate(["a", "b", "a", "c"]):
        ledger.begin_batch(session_id, name=name, at=after(minute))
    assert [batch.name for batch in ledger.newest_batches(last=3)] == ["b", "a", "c"]
    assert [batch.started_at for batch in ledger.newest_batches("a")] == [after(0), after(2)]
    assert ledger.sessions_numbered([session_id, session_id, 99]).keys() == {session_id}
    assert ledger.sessions_numbered([]) == {}
