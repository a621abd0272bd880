from dataclasses import replace
from datetime import timedelta

import pytest
from bench import INSTANCE, adds_up
from fakes.clock import START, FakeClock

from costctl.daemon.session import open_session
from costctl.domain.money import parse_price
from costctl.domain.sessions import EndReason

BOOT = START - timedelta(minutes=10)
CHEAP = parse_price("1.8 CNY/h", source="flag", dated=START)
DEAR = parse_price("2.5 CNY/h", source="flag", dated=START)


def begin(ledger, *, minutes=0, key="boot-a/1", since=BOOT, price=CHEAP, instance=INSTANCE):
    """Start a daemon so many minutes after the first one."""
    clock = FakeClock(start=START + timedelta(minutes=minutes), monotonic_s=5000.0)
    return open_session(ledger, instance=instance, key=key, billed_since=since, price=price, clock=clock)


def crash(ledger, opening, *, minutes):
    """Let a daemon live for so long, with heartbeats, and go without a word."""
    ledger.heartbeat(opening.session_id, at=START + timedelta(minutes=minutes))


def phases(ledger, opening):
    (session,) = (one for one in ledger.sessions() if one.id == opening.session_id)
    assert adds_up(session)
    assert ledger.check() == []
    return [(str(span.phase), span.length.total_seconds() / 60) for span in session.phases]


def test_a_fresh_boot_is_billed_from_the_boot_and_unknown_until_the_daemon_came(ledger):
    opening = begin(ledger)
    assert opening.started_at == BOOT
    assert phases(ledger, opening)[:1] == [("unknown", 10.0)]
    assert opening.remarks == ()
    assert opening.timeline.instant(5000.0) == START


def test_where_billing_starts_with_the_daemon_nothing_before_it_is_billed(ledger):
    opening = begin(ledger, since=None)
    assert opening.started_at == START
    assert phases(ledger, opening) == [("off", 0.0)]


def test_a_boot_that_seems_to_lie_in_the_future_begins_now(ledger):
    opening = begin(ledger, since=START + timedelta(hours=1))
    assert opening.started_at == START


def test_a_daemon_that_starts_again_in_the_same_boot_goes_on_with_its_session(ledger):
    first = begin(ledger)
    ledger.close_session(first.session_id, at=START + timedelta(minutes=5), reason=EndReason.STOPPED)
    second = begin(ledger, minutes=12)
    assert second.session_id == first.session_id
    assert phases(ledger, second) == [("unknown", 10.0), ("off", 5.0), ("unknown", 7.0), ("off", 0.0)]
    assert second.remarks == ("session 1 goes on; the 420 s without a daemon count as unknown",)


def test_a_daemon_that_crashed_in_the_same_boot_loses_only_what_came_after_its_last_heartbeat(ledger):
    first = begin(ledger)
    ledger.begin_run(first.session_id, 1, engine="sim", model="m", command=("x",), at=START)
    crash(ledger, first, minutes=5)
    second = begin(ledger, minutes=6)
    assert phases(ledger, second) == [("unknown", 10.0), ("off", 5.0), ("unknown", 1.0), ("off", 0.0)]
    (run,) = ledger.engine_runs(first.session_id)
    assert (run.outcome, run.ended_at) == ("lost", START + timedelta(minutes=5))
    assert second.next_run == 2


def test_a_crash_and_another_boot_close_the_session_at_its_last_heartbeat(ledger):
    first = begin(ledger)
    crash(ledger, first, minutes=5)
    second = begin(ledger, minutes=600, key="boot-b/1", since=START + timedelta(minutes=590))
    assert second.session_id != first.session_id
    old, new = ledger.sessions()
    assert (old.end_reason, old.ended_at) == (EndReason.LOST, START + timedelta(minutes=5))
    assert (new.started_at, new.ended_at) == (START + timedelta(minutes=590), None)
    assert second.remarks == ("session 1 of an earlier power-on was closed at its last heartbeat",)
    assert second.next_run == 1


def test_where_billing_starts_with_the_daemon_a_finished_session_stays_finished(ledger):
    first = begin(ledger, since=None)
    ledger.close_session(first.session_id, at=START + timedelta(minutes=5), reason=EndReason.IDLE)
    second = begin(ledger, minutes=60, since=None)
    assert second.session_id != first.session_id
    assert [session.length for session in ledger.sessions()] == [timedelta(minutes=5), timedelta()]


def test_where_billing_starts_with_the_daemon_a_crash_is_taken_up_again(ledger):
    first = begin(ledger, since=None)
    crash(ledger, first, minutes=5)
    assert begin(ledger, minutes=6, since=None).session_id == first.session_id


def test_another_machines_open_session_is_none_of_our_business(ledger):
    other = begin(ledger, instance=replace(INSTANCE, machine="another"), key="boot-x/1")
    begin(ledger, key="boot-b/1")
    assert [session.ended_at for session in ledger.sessions()] == [None, None]
    assert other.remarks == ()


def test_the_price_is_frozen_when_the_session_begins(ledger):
    begin(ledger)
    second = begin(ledger, minutes=5, price=DEAR)
    assert second.price == CHEAP
    assert second.remarks[1] == (
        f"this session's price stays {CHEAP} (frozen when it began); {DEAR} holds for the next"
    )


def test_a_price_that_comes_later_holds_from_the_start_of_the_session(ledger):
    begin(ledger, price=None)
    second = begin(ledger, minutes=5, price=DEAR)
    assert second.price == DEAR
    (session,) = ledger.sessions()
    assert session.price == DEAR


def test_a_daemon_without_a_price_keeps_the_one_that_is_known(ledger):
    begin(ledger)
    assert begin(ledger, minutes=5, price=None).price == CHEAP


@pytest.mark.parametrize("minutes", [3, -600])
def test_a_wall_clock_that_went_back_between_two_daemons_takes_no_time_back(ledger, minutes):
    first = begin(ledger)
    crash(ledger, first, minutes=5)
    second = begin(ledger, minutes=minutes)
    assert second.timeline.instant(5000.0) == START + timedelta(minutes=5)
    assert phases(ledger, second) == [("unknown", 10.0), ("off", 5.0)]


def test_a_boot_with_a_clock_that_went_back_bills_no_second_twice(ledger):
    first = begin(ledger)
    crash(ledger, first, minutes=30)
    second = begin(ledger, minutes=10, key="boot-b/1", since=START + timedelta(minutes=5))
    old, new = sorted(ledger.sessions(), key=lambda session: session.id)
    assert old.ended_at == START + timedelta(minutes=30)
    assert new.started_at >= old.ended_at
    assert second.timeline.instant(5000.0) >= old.ended_at
