from datetime import UTC, datetime, timedelta

import pytest

from costctl.domain.sessions import Phase
from costctl.errors import LedgerError

START = datetime(2026, 1, 31, tzinfo=UTC)
DONE = {"requests": 3, "failed_requests": 1, "prompt_tokens": 40, "generation_tokens": 50}


@pytest.fixture
def session_id(ledger, instance_id, price):
    return ledger.open_session(
        instance_id=instance_id, key="boot-1", started_at=START, at=START, price=price, phase=Phase.OFF
    )


def test_a_batch_is_begun_and_ended(ledger, session_id):
    batch_id = ledger.begin_batch(session_id, name="jobs.jsonl", at=START)
    (begun,) = ledger.batches(session_id)
    assert (begun.name, begun.started_at, begun.ended_at, begun.requests) == ("jobs.jsonl", START, None, 0)
    ledger.end_batch(batch_id, at=START + timedelta(hours=1), **DONE)
    (ended,) = ledger.batches(session_id)
    assert ended.ended_at == START + timedelta(hours=1)
    assert {name: getattr(ended, name) for name in DONE} == DONE


def test_a_batch_that_is_not_there_cannot_end(ledger):
    with pytest.raises(LedgerError, match="no batch 7"):
        ledger.end_batch(7, at=START, **DONE)


@pytest.mark.parametrize(
    ("at", "wrong"), [(START, {"prompt_tokens": -1}), (START, {"failed_requests": 4}), (START - timedelta(1), {})]
)
def test_a_batch_that_did_the_impossible_is_refused(ledger, session_id, at, wrong):
    batch_id = ledger.begin_batch(session_id, name="jobs.jsonl", at=START)
    with pytest.raises(ValueError, match="batch"):
        ledger.end_batch(batch_id, at=at, **DONE | wrong)
    assert ledger.batches(session_id)[0].ended_at is None
