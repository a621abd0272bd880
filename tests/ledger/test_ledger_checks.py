from datetime import UTC, datetime, timedelta

import pytest

from costctl.domain.batches import Outcome, Progress
from costctl.domain.sessions import Instance, Phase

START = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def session_id(ledger, instance_id, price):
    session_id = ledger.open_session(
        instance_id=instance_id, key="boot-1", started_at=START, at=START, price=price, phase=Phase.OFF
    )
    ledger.begin_run(session_id, 1, engine="sim", model="m", command=["sim"], at=START)
    ledger.run_ready(session_id, 1, at=START + timedelta(seconds=2), startup={})
    ledger.begin_phase(session_id, at=START + timedelta(seconds=2), phase=Phase.BUSY, run=1)
    ledger.add_usage(session_id, hour_at=START, model="m", requests=1, prompt_tokens=1, generation_tokens=1)
    ledger.add_gpu_minute(
        session_id, minute_at=START, gpu_index=0, gpu="T4", utilisation_percent=1, memory_used_bytes=1
    )
    batch = ledger.begin_batch(session_id, name="jobs.jsonl", at=START)
    ledger.end_batch(
        batch, at=START, done=Progress(requests=2, failed=1, prompt_tokens=1, generation_tokens=1), outcome=Outcome.DONE
    )
    return session_id


def test_a_consistent_ledger_has_no_problems(ledger, session_id):
    assert ledger.check() == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE sessions SET heartbeat_at = started_at - 1", "last heartbeat is before the start"),
        ("UPDATE sessions SET ended_at = heartbeat_at + 1, end_reason = 'idle'", "ended, but not where it is known"),
        ("UPDATE sessions SET ended_at = heartbeat_at", "ended without a reason"),
        ("UPDATE sessions SET ended_at = heartbeat_at, end_reason = 'idle'", "open, though the session has ended"),
        ("UPDATE sessions SET currency = NULL", "a price without its currency"),
        ("UPDATE sessions SET price_micros_per_hour = 0", "a price without its currency"),
        ("DELETE FROM phases WHERE phase = 'off'", "no phase begins with the session"),
        ("UPDATE phases SET started_at = started_at + 9 WHERE phase = 'busy'", "begins outside of the session"),
        ("UPDATE phases SET run = 7 WHERE phase = 'busy'", "names an engine run that is not there"),
        ("UPDATE engine_runs SET ended_at = started_at, outcome = 'lost'", "ended before it started or was ready"),
        ("UPDATE engine_runs SET outcome = 'lost'", "an outcome without an end"),
        ("UPDATE usage_hours SET requests = -1", "usage below nothing"),
        ("UPDATE batches SET ended_at = started_at - 1", "a batch ended before it began"),
        ("UPDATE batches SET failed_requests = 3", "or did less than nothing"),
        ("UPDATE batches SET outcome = NULL", "a batch ended without an outcome"),
        (
            "UPDATE batches SET ended_at = NULL; UPDATE sessions SET ended_at = heartbeat_at, end_reason = 'idle'",
            "a batch is open, though the session has ended",
        ),
        ("UPDATE gpu_minutes SET utilisation_percent = 101", "more than 100 percent"),
    ],
)
def test_what_is_wrong_is_said(ledger, session_id, damage, words):
    with ledger._begin() as connection:
        for statement in damage.split(";"):
            connection.exec_driver_sql(statement)
    assert any(problem.startswith("session 1: ") and words in problem for problem in ledger.check())


def test_two_open_sessions_of_one_machine_are_found(ledger, session_id):
    same_box = ledger.register_instance(Instance(machine="box", gpu="L4"))
    ledger.open_session(instance_id=same_box, key="b", started_at=START, at=START, price=None, phase=Phase.OFF)
    assert ledger.check() == ["machine box: more than one session is open"]


def test_many_of_the_same_are_counted(ledger, session_id, instance_id):
    for number in range(6):
        ledger.open_session(
            instance_id=instance_id, key=f"b{number}", started_at=START, at=START, price=None, phase=Phase.OFF
        )
    with ledger._begin() as connection:
        connection.exec_driver_sql("DELETE FROM phases")
    assert "session 1, 2, 3, 4, 5 and 2 more: no phase begins with the session" in ledger.check()
