from datetime import UTC, datetime, timedelta

import pytest

from costctl.domain.money import parse_price
from costctl.domain.sessions import EndReason, Instance, Phase
from costctl.errors import LedgerError
from costctl.ledger.store import Ledger


def at(minutes: float) -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(minutes=minutes)


@pytest.fixture
def session_id(ledger, instance_id, price):
    return ledger.open_session(
        instance_id=instance_id, key="boot-1", started_at=at(0), at=at(2), price=price, phase=Phase.OFF
    )


def only(ledger):
    (session,) = ledger.sessions()
    return session


def phases(session):
    return [(span.phase, span.started_at, span.ended_at, span.run) for span in session.phases]


def test_instance_is_found_again_only_if_all_facts_are_the_same(ledger):
    box = Instance(machine="box", provider="aws", instance_type="g5.xlarge", gpu="A10G", gpu_count=1)
    first = ledger.register_instance(box)
    assert ledger.register_instance(box) == first
    assert ledger.register_instance(Instance(machine="box")) != first
    assert ledger.register_instance(Instance(machine="box")) != ledger.register_instance(Instance(machine="other"))


def test_a_new_session_is_open_and_known_up_to_now(ledger, session_id, price):
    session = only(ledger)
    assert (session.id, session.started_at, session.known_until) == (session_id, at(0), at(2))
    assert session.instance == Instance(machine="box", gpu="A10G", gpu_count=1)
    assert (session.ended_at, session.end_reason, session.price) == (None, None, price)
    assert phases(session) == [(Phase.OFF, at(0), at(2), None)]
    assert session.started_at.tzinfo is UTC


def test_phases_follow_each_other_without_gaps(ledger, session_id):
    ledger.begin_run(session_id, 1, engine="sim", model="m", command=["sim"], at=at(3))
    ledger.begin_phase(session_id, at=at(3), phase=Phase.STARTING, run=1)
    ledger.begin_phase(session_id, at=at(5), phase=Phase.BUSY, run=1)
    ledger.heartbeat(session_id, at(9))
    assert phases(only(ledger)) == [
        (Phase.OFF, at(0), at(3), None),
        (Phase.STARTING, at(3), at(5), 1),
        (Phase.BUSY, at(5), at(9), 1),
    ]


def test_the_same_phase_again_is_nothing_new(ledger, session_id):
    ledger.begin_phase(session_id, at=at(4), phase=Phase.OFF)
    assert phases(only(ledger)) == [(Phase.OFF, at(0), at(4), None)]


def test_a_phase_at_the_same_instant_replaces(ledger, session_id):
    ledger.begin_phase(session_id, at=at(4), phase=Phase.STARTING)
    ledger.begin_phase(session_id, at=at(4), phase=Phase.BUSY)
    assert [span.phase for span in only(ledger).phases] == [Phase.OFF, Phase.BUSY]
    ledger.begin_phase(session_id, at=at(4), phase=Phase.OFF)
    assert phases(only(ledger)) == [(Phase.OFF, at(0), at(4), None)]


def test_a_clock_that_goes_backwards_makes_nothing_negative(ledger, session_id):
    ledger.begin_phase(session_id, at=at(10), phase=Phase.BUSY)
    ledger.heartbeat(session_id, at(5))
    ledger.begin_phase(session_id, at=at(-60), phase=Phase.IDLE)
    assert phases(only(ledger)) == [(Phase.OFF, at(0), at(10), None), (Phase.IDLE, at(10), at(10), None)]
    ledger.close_session(session_id, at=at(-60), reason=EndReason.IDLE)
    assert only(ledger).ended_at == at(10)
    assert ledger.check() == []


def test_a_session_that_starts_after_now_is_known_from_its_start(ledger, instance_id):
    ledger.open_session(instance_id=instance_id, key="b", started_at=at(1), at=at(0), price=None, phase=Phase.OFF)
    assert only(ledger).known_until == at(1)
    assert ledger.check() == []


def test_closing_ends_the_last_phase(ledger, session_id, price):
    ledger.begin_phase(session_id, at=at(30), phase=Phase.IDLE)
    ledger.close_session(session_id, at=at(60), reason=EndReason.IDLE)
    session = only(ledger)
    assert (session.ended_at, session.end_reason) == (at(60), EndReason.IDLE)
    assert session.phases[-1].ended_at == at(60)
    assert session.cost() == price.micros_per_hour


def test_closing_again_changes_nothing(ledger, session_id):
    ledger.close_session(session_id, at=at(60), reason=EndReason.IDLE)
    ledger.close_session(session_id, at=at(90), reason=EndReason.STOPPED)
    assert (only(ledger).ended_at, only(ledger).end_reason) == (at(60), EndReason.IDLE)


def test_closing_loses_the_runs_left_open(ledger, session_id):
    ledger.begin_run(session_id, 1, engine="sim", model="m", command=["sim"], at=at(1))
    ledger.close_session(session_id, at=at(5), reason=EndReason.STOPPED)
    (run,) = ledger.engine_runs(session_id)
    assert (run.ended_at, run.outcome) == (at(5), "lost")


def test_nothing_happens_in_a_session_that_has_ended(ledger, session_id):
    ledger.close_session(session_id, at=at(60), reason=EndReason.IDLE)
    ledger.heartbeat(session_id, at(70))
    assert only(ledger).known_until == at(60)
    with pytest.raises(LedgerError, match="session 1 has ended"):
        ledger.begin_phase(session_id, at=at(70), phase=Phase.BUSY)


def test_verbs_about_a_session_that_is_not_there_say_so(ledger):
    with pytest.raises(LedgerError, match="no session 7"):
        ledger.close_session(7, at=at(0), reason=EndReason.IDLE)


def test_resuming_accounts_for_the_time_away_as_unknown(ledger, session_id):
    ledger.begin_run(session_id, 1, engine="sim", model="m", command=["sim"], at=at(3))
    ledger.begin_phase(session_id, at=at(3), phase=Phase.BUSY, run=1)
    ledger.heartbeat(session_id, at(10))
    ledger.resume_session(session_id, at=at(25), price=None)
    ledger.begin_phase(session_id, at=at(25), phase=Phase.OFF)
    assert phases(only(ledger)) == [
        (Phase.OFF, at(0), at(3), None),
        (Phase.BUSY, at(3), at(10), 1),
        (Phase.UNKNOWN, at(10), at(25), None),
        (Phase.OFF, at(25), at(25), None),
    ]
    (run,) = ledger.engine_runs(session_id)
    assert (run.ended_at, run.outcome) == (at(10), "lost")


def test_resuming_reopens_a_session_that_ended_in_the_same_power_on(ledger, session_id):
    ledger.close_session(session_id, at=at(5), reason=EndReason.IDLE)
    ledger.resume_session(session_id, at=at(8), price=None)
    session = only(ledger)
    assert (session.ended_at, session.end_reason, session.known_until) == (None, None, at(8))
    assert phases(session)[-1] == (Phase.UNKNOWN, at(5), at(8), None)


def test_resuming_before_the_last_heartbeat_leaves_no_unknown_time(ledger, session_id):
    ledger.resume_session(session_id, at=at(1), price=None)
    assert phases(only(ledger)) == [(Phase.OFF, at(0), at(2), None)]


def test_a_known_price_is_frozen_and_an_unknown_one_can_become_known(ledger, instance_id, session_id, price):
    dearer = parse_price("9 EUR/h", source="file", dated=at(0))
    ledger.resume_session(session_id, at=at(3), price=dearer)
    assert only(ledger).price == price
    unpriced = ledger.open_session(
        instance_id=instance_id, key="boot-1", started_at=at(4), at=at(5), price=None, phase=Phase.OFF
    )
    ledger.resume_session(unpriced, at=at(6), price=None)
    assert ledger.sessions()[-1].price is None
    ledger.resume_session(unpriced, at=at(7), price=dearer)
    assert ledger.sessions()[-1].price == dearer


def test_latest_session_of_a_power_on(ledger, instance_id, session_id):
    assert ledger.latest_session(machine="box", key="boot-1").id == session_id
    assert ledger.latest_session(machine="box", key="boot-2") is None
    assert ledger.latest_session(machine="other", key="boot-1") is None
    ledger.close_session(session_id, at=at(5), reason=EndReason.SUSPENDED)
    woken = ledger.open_session(
        instance_id=instance_id, key="boot-1", started_at=at(50), at=at(50), price=None, phase=Phase.OFF
    )
    assert ledger.latest_session(machine="box", key="boot-1").id == woken


def test_lost_sessions_end_at_their_heartbeat_and_other_machines_are_left_alone(ledger, session_id):
    other = ledger.register_instance(Instance(machine="other"))
    theirs = ledger.open_session(
        instance_id=other, key="boot-9", started_at=at(0), at=at(1), price=None, phase=Phase.OFF
    )
    ledger.begin_run(session_id, 1, engine="sim", model="m", command=["sim"], at=at(1))
    ledger.heartbeat(session_id, at(7))
    assert ledger.close_lost_sessions(machine="box", except_key="boot-1") == []
    assert ledger.close_lost_sessions(machine="box", except_key="boot-2") == [session_id]
    closed, untouched = ledger.sessions()
    assert (closed.ended_at, closed.end_reason) == (at(7), EndReason.LOST)
    assert ledger.engine_runs(session_id)[0].outcome == "lost"
    assert (untouched.id, untouched.ended_at) == (theirs, None)
    assert ledger.close_lost_sessions(machine="box", except_key="boot-2") == []


def test_sessions_of_a_range_are_those_that_overlap_it(ledger, instance_id):
    for hour in range(4):
        session_id = ledger.open_session(
            instance_id=instance_id,
            key=f"boot-{hour}",
            started_at=at(60 * hour),
            at=at(60 * hour),
            price=None,
            phase=Phase.OFF,
        )
        ledger.close_session(session_id, at=at(60 * hour + 60), reason=EndReason.IDLE)
    assert [session.id for session in ledger.sessions(since=at(60), until=at(180))] == [2, 3]
    assert [session.id for session in ledger.sessions(since=at(59), until=at(181))] == [1, 2, 3, 4]
    assert [session.id for session in ledger.sessions(since=at(180))] == [4]
    assert [session.id for session in ledger.sessions(until=at(1))] == [1]
    assert [session.id for session in ledger.sessions(last=2)] == [3, 4]


def test_a_month_is_found_through_the_index_and_never_by_a_scan(file_url):
    with Ledger.open(file_url) as ledger, ledger._look() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM sessions JOIN instances ON instances.id = sessions.instance_id"
            " WHERE heartbeat_at > 5 AND started_at < 9 ORDER BY heartbeat_at DESC, sessions.id DESC"
        )
        steps = [row[-1] for row in plan]
    assert any("ix_sessions_known (heartbeat_at>?" in step for step in steps)
    assert not any(step.startswith("SCAN") for step in steps)


def test_instants_need_a_time_zone(ledger, session_id):
    with pytest.raises(LedgerError, match="needs a time zone"):
        ledger.heartbeat(session_id, datetime(2026, 1, 1))  # noqa: DTZ001


def test_several_verbs_can_happen_all_or_not_at_all(ledger, session_id):
    def half():
        with ledger.transaction():
            ledger.begin_phase(session_id, at=at(5), phase=Phase.BUSY)
            ledger.begin_phase(9, at=at(5), phase=Phase.BUSY)

    with pytest.raises(LedgerError, match="no session 9"):
        half()
    assert [span.phase for span in only(ledger).phases] == [Phase.OFF]
    with ledger.transaction():
        ledger.begin_phase(session_id, at=at(5), phase=Phase.BUSY)
        ledger.heartbeat(session_id, at(6))
        assert only(ledger).known_until == at(6)
    assert [span.phase for span in only(ledger).phases] == [Phase.OFF, Phase.BUSY]


def test_a_reader_sees_what_was_committed_while_the_ledger_is_written(url, ledger, session_id):
    with Ledger.read(url) as reader, ledger.transaction():
        ledger.heartbeat(session_id, at(6))
        assert only(reader).known_until == at(2)
    with Ledger.read(url) as reader:
        assert only(reader).known_until == at(6)


def test_instances_in_the_ledger_keep_microseconds(ledger, instance_id):
    exact = datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=UTC)
    ledger.open_session(instance_id=instance_id, key="b", started_at=exact, at=exact, price=None, phase=Phase.OFF)
    assert only(ledger).started_at == exact
