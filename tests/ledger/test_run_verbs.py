from datetime import UTC, datetime, timedelta

import pytest

from costctl.domain.sessions import EndReason, Phase
from costctl.errors import LedgerError
from costctl.ledger.values import Decision, EngineRun, GpuMinute, UsageHour

HOUR = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return HOUR + timedelta(seconds=seconds)


@pytest.fixture
def session_id(ledger, instance_id):
    return ledger.open_session(
        instance_id=instance_id, key="boot-1", started_at=at(0), at=at(0), price=None, phase=Phase.OFF
    )


def begin(ledger, session_id, number, *, after=0.0, model="m"):
    ledger.begin_run(session_id, number, engine="vllm", model=model, command=["vllm", "serve", model], at=at(after))


def test_a_run_from_start_to_end(ledger, session_id):
    assert ledger.next_run_number(session_id) == 1
    begin(ledger, session_id, 1)
    assert ledger.next_run_number(session_id) == 2
    ledger.run_ready(session_id, 1, at=at(31.5), startup={"weights": 12.25, "graphs": 8.0})
    ledger.end_run(session_id, 1, at=at(60), outcome="crashed", detail="CUDA out of memory")
    assert ledger.engine_runs(session_id) == [
        EngineRun(
            session_id=session_id,
            number=1,
            engine="vllm",
            model="m",
            command=("vllm", "serve", "m"),
            started_at=at(0),
            ready_at=at(31.5),
            ended_at=at(60),
            outcome="crashed",
            detail="CUDA out of memory",
            startup_seconds={"weights": 12.25, "graphs": 8.0},
        )
    ]
    assert ledger.engine_runs(session_id)[0].start_seconds == 31.5


def test_the_first_end_of_a_run_counts_and_never_precedes_its_start(ledger, session_id):
    begin(ledger, session_id, 1, after=10)
    ledger.end_run(session_id, 1, at=at(5), outcome="failed", detail=None)
    ledger.end_run(session_id, 1, at=at(50), outcome="stopped", detail="late")
    (run,) = ledger.engine_runs(session_id)
    assert (run.ended_at, run.outcome, run.detail, run.start_seconds) == (at(10), "failed", None, None)
    assert run.startup_seconds == {}


def test_a_run_that_has_ended_does_not_become_ready(ledger, session_id):
    begin(ledger, session_id, 1)
    ledger.end_run(session_id, 1, at=at(5), outcome="lost")
    ledger.run_ready(session_id, 1, at=at(9), startup={"weights": 9.0})
    assert ledger.engine_runs(session_id)[0].ready_at is None
    assert ledger.check() == []


def test_no_run_begins_in_a_session_that_has_ended(ledger, session_id):
    ledger.close_session(session_id, at=at(1), reason=EndReason.IDLE)
    with pytest.raises(LedgerError, match="has ended"):
        begin(ledger, session_id, 1)


def test_a_run_number_is_used_once(ledger, session_id):
    begin(ledger, session_id, 1)
    with pytest.raises(LedgerError, match=r"(?i)unique"):
        begin(ledger, session_id, 1)


def test_a_run_belongs_to_a_session(ledger):
    with pytest.raises(LedgerError, match=r"(?i)foreign key"):
        begin(ledger, 9, 1)
    with pytest.raises(LedgerError, match="no engine run 1 in session 9"):
        ledger.run_ready(9, 1, at=at(1), startup={})


def test_start_seconds_are_those_of_the_last_successful_starts_of_the_same_model(ledger, session_id):
    for number, took in enumerate([30, 40, None, 50], start=1):
        begin(ledger, session_id, number, after=100 * number)
        if took:
            ledger.run_ready(session_id, number, at=at(100 * number + took), startup={})
    begin(ledger, session_id, 5, after=900, model="other")
    ledger.run_ready(session_id, 5, at=at(901), startup={})
    assert ledger.start_seconds(engine="vllm", model="m") == [50.0, 40.0, 30.0]
    assert ledger.start_seconds(engine="vllm", model="m", last=2) == [50.0, 40.0]
    assert ledger.start_seconds(engine="sim", model="m") == []


def test_usage_adds_up_by_hour_and_model(ledger, session_id):
    for model, requests in [("m", 1), ("m", 2), ("b", 5)]:
        ledger.add_usage(
            session_id, hour_at=HOUR, model=model, requests=requests, prompt_tokens=10, generation_tokens=0
        )
    assert ledger.usage(session_id) == [
        UsageHour(session_id=1, hour_at=HOUR, model="b", requests=5, prompt_tokens=10, generation_tokens=0),
        UsageHour(session_id=1, hour_at=HOUR, model="m", requests=3, prompt_tokens=20, generation_tokens=0),
    ]


def test_usage_never_shrinks(ledger, session_id):
    with pytest.raises(ValueError, match="only grows"):
        ledger.add_usage(session_id, hour_at=HOUR, model="m", requests=-1, prompt_tokens=0, generation_tokens=0)


def test_the_last_word_about_a_gpu_minute_counts(ledger, session_id):
    for percent in (10, 90):
        ledger.add_gpu_minute(
            session_id,
            minute_at=HOUR,
            gpu_index=0,
            gpu="A10G",
            utilisation_percent=percent,
            memory_used_bytes=2**34,
            power_milliwatts=None,
        )
    assert ledger.gpu_minutes(session_id) == [
        GpuMinute(
            session_id=1,
            minute_at=HOUR,
            gpu_index=0,
            gpu="A10G",
            utilisation_percent=90,
            memory_used_bytes=2**34,
            power_milliwatts=None,
        )
    ]


def test_decisions_are_kept_with_what_they_saw(ledger, session_id):
    signals = {"in_flight": 0, "logins": ["pts/0"], "gpu": None}
    for after, verdict in [(1, "keep"), (2, "stop")]:
        ledger.record_decision(
            session_id, at=at(after), verdict=verdict, reason="why", signals=signals, acted=verdict == "stop"
        )
    newest, oldest = ledger.decisions(session_id)
    assert newest == Decision(session_id=1, at=at(2), verdict="stop", reason="why", signals=signals, acted=True)
    assert oldest.acted is False
    assert ledger.decisions(session_id, last=1) == [newest]
