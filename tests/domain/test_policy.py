from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costctl.domain.lifecycle import EngineState, Lifecycle
from costctl.domain.policy import Choice, Evidence, IdlePolicy, judge, observe

POLICY = IdlePolicy(window_s=1800.0, grace_s=60.0, unreadable_cap_s=7200.0)
OFF = Lifecycle(state=EngineState.OFF, since=0.0, last_work_at=0.0)


def verdict(lifecycle=OFF, signals=(), *, at, policy=POLICY, since=0.0):
    return judge(lifecycle, signals, policy, since=since, at=at)


def evidence(active, *, name="logins", age_s=0.0):
    return Evidence(name=name, active=active, detail="what was seen", age_s=age_s)


def in_state(state, *, since=0.0, **numbers):
    return replace(OFF, state=state, since=since, **numbers)


# --- from when idleness counts ---------------------------------------------------------------------------------------


def test_a_daemon_that_was_never_used_is_idle_from_its_start():
    assert verdict(since=100.0, at=100.0 + 1799.9).choice is not Choice.STOP
    assert verdict(since=100.0, at=100.0 + 1800.0).choice is Choice.STOP


def test_idleness_counts_from_the_moment_the_engine_became_ready():
    ready = in_state(EngineState.READY, since=300.0)
    assert verdict(ready, at=400.0).stop_at == 300.0 + 1800.0


def test_idleness_counts_from_the_last_byte_of_the_last_request():
    ready = in_state(EngineState.READY, since=300.0, last_work_at=900.0)
    found = verdict(ready, at=1000.0)
    assert (found.idle_since, found.stop_at) == (900.0, 2700.0)


def test_an_engine_that_was_unloaded_does_not_begin_a_new_window():
    assert verdict(in_state(EngineState.OFF, since=1700.0, last_work_at=50.0), at=1800.0).stop_at == 1850.0


@pytest.mark.parametrize("state", [EngineState.STARTING, EngineState.STOPPING])
def test_an_engine_that_starts_or_stops_is_active(state):
    found = verdict(in_state(state), at=1e6)
    assert (found.choice, found.reason) == (Choice.KEEP, f"the engine is {state.value}")


@pytest.mark.parametrize("state", [EngineState.OFF, EngineState.FAILED, EngineState.STUCK])
def test_an_engine_that_is_down_or_stuck_keeps_nothing_up(state):
    assert verdict(in_state(state), at=1e6).choice is Choice.STOP


def test_requests_in_flight_and_waiting_keep_the_machine_up():
    assert verdict(in_state(EngineState.READY, in_flight=1), at=1e6).reason == "1 request in flight"
    assert verdict(in_state(EngineState.READY, in_flight=3), at=1e6).reason == "3 requests in flight"
    assert verdict(in_state(EngineState.STOPPING, waiting=2), at=1e6).reason == "2 requests waiting for the engine"


# --- the window ------------------------------------------------------------------------------------------------------


def test_the_verdict_goes_from_keep_over_a_warning_to_stop():
    assert [verdict(at=at).choice for at in (0.0, 1739.9, 1740.0, 1799.9, 1800.0)] == [
        Choice.KEEP,
        Choice.KEEP,
        Choice.WARN,
        Choice.WARN,
        Choice.STOP,
    ]


def test_every_verdict_says_why():
    assert verdict(at=600.0).reason == "idle for 10m, stops in 20m"
    assert verdict(at=1750.0).reason == "idle for 29m10s, stops in 50s"
    assert verdict(at=1800.0).reason == "idle for 30m, the window is 30m"


def test_without_a_window_nothing_is_ever_stopped():
    found = verdict(at=1e9, policy=replace(POLICY, window_s=None))
    assert (found.choice, found.stop_at) == (Choice.KEEP, None)
    assert found.reason.endswith("idle shutdown is off")


# --- signals ---------------------------------------------------------------------------------------------------------


def test_an_active_signal_keeps_the_machine_up_and_says_which():
    found = verdict(signals=observe((), [evidence(True)], 5000.0), at=5000.0)
    assert (found.choice, found.reason) == (Choice.KEEP, "logins: what was seen")


def test_idleness_counts_from_the_look_that_found_a_signal_quiet_again():
    signals = observe(observe((), [evidence(True)], 1000.0), [evidence(False)], 1005.0)
    assert verdict(signals=signals, at=1010.0).idle_since == 1005.0


def test_what_was_active_at_the_last_look_is_active_until_the_next_one():
    signals = observe((), [evidence(True)], 1000.0)
    found = verdict(signals=signals, at=1009.0)
    assert (found.choice, found.idle_since) == (Choice.KEEP, None)
    assert "what was seen" in found.reason


def test_a_signal_that_knows_its_age_is_quiet_from_then_whenever_it_is_looked_at():
    signals = observe(observe((), [evidence(True, age_s=8.0)], 1000.0), [evidence(False)], 1005.0)
    assert verdict(signals=signals, at=1010.0).idle_since == 992.0


def test_a_signal_that_knows_its_age_counts_from_then():
    signals = observe((), [evidence(True, age_s=8.0)], 1000.0)
    assert verdict(signals=signals, at=1000.0).idle_since == 992.0


def test_an_older_sight_of_activity_takes_nothing_back():
    signals = observe(observe((), [evidence(True)], 1000.0), [evidence(True, age_s=600.0)], 1010.0)
    assert signals[0].last_active_at == 1000.0


def test_activity_at_the_very_zero_of_the_clock_is_not_forgotten():
    signals = observe(observe((), [evidence(True)], 0.0), [evidence(True, age_s=10.0)], 5.0)
    assert signals[0].last_active_at == 0.0


def test_a_signal_that_was_not_read_now_keeps_its_state():
    signals = observe((), [evidence(True, name="a"), evidence(False, name="b")], 1.0)
    later = observe(signals, [evidence(True, name="b")], 2.0)
    assert [(signal.name, signal.active) for signal in later] == [("a", True), ("b", True)]
    assert later[0] == signals[0]


def test_an_unreadable_signal_counts_as_active_up_to_its_cap():
    signals = observe((), [evidence(None)], 100.0)
    assert verdict(signals=signals, at=100.0 + 7199.0).reason.startswith("logins cannot be read")
    assert verdict(signals=signals, at=100.0 + 7200.0).choice is Choice.KEEP


def test_after_the_cap_idleness_counts_from_its_end():
    signals = observe((), [evidence(None)], 100.0)
    assert verdict(signals=signals, at=100.0 + 7200.0 + 10).stop_at == 100.0 + 7200.0 + 1800.0


def test_a_signal_that_stays_unreadable_has_one_cap_not_a_new_one_with_every_look():
    signals = ()
    for at in range(100, 9000, 50):
        signals = observe(signals, [evidence(None)], float(at))
    assert signals[0].unreadable_since == 100.0


def test_a_signal_that_can_be_read_again_says_how_it_is():
    signals = observe(observe((), [evidence(None)], 100.0), [evidence(False)], 110.0)
    assert verdict(signals=signals, at=1800.0).choice is Choice.STOP


# --- more evidence of activity never makes it stop earlier -----------------------------------------------------------

moments = st.floats(0, 20_000, allow_nan=False)
looks = st.lists(
    st.tuples(
        st.floats(0, 3000, allow_nan=False),
        st.sampled_from(["logins", "engine counters", "other GPU programs"]),
        st.sampled_from([True, False, None]),
        st.floats(0, 100, allow_nan=False),
    ),
    max_size=12,
)
_ORDER = {Choice.KEEP: 0, Choice.WARN: 1, Choice.STOP: 2}


def seen(history):
    signals, at = (), 0.0
    for pause, name, active, age_s in history:
        at += pause
        signals = observe(signals, [evidence(active, name=name, age_s=age_s)], at)
    return signals, at


@given(looks, st.integers(0, 11), st.floats(0, 20_000, allow_nan=False), moments, moments)
def test_more_evidence_of_activity_never_makes_it_stop_earlier(history, where, later, last_work_at, ready_at):
    more = [(*look[:2], True, 0.0) if index == where else look for index, look in enumerate(history)]
    (fewer_signals, at), (more_signals, _) = seen(history), seen(more)
    if any(look[2] is None for look in history):
        # What could not be read counts as active for hours: to have read it can shorten that, and should.
        return
    lifecycle = in_state(EngineState.READY, since=ready_at, last_work_at=last_work_at)
    with_fewer = verdict(lifecycle, fewer_signals, at=at + later)
    with_more = verdict(lifecycle, more_signals, at=at + later)
    assert _ORDER[with_more.choice] <= _ORDER[with_fewer.choice]


@given(looks, looks, st.floats(0, 20_000, allow_nan=False))
def test_one_more_signal_never_makes_it_stop_earlier(history, extra, later):
    signals, at = seen(history)
    others = tuple(replace(signal, name=f"another {signal.name}") for signal in seen(extra)[0])
    with_fewer, with_more = verdict(signals=signals, at=at + later), verdict(signals=signals + others, at=at + later)
    assert _ORDER[with_more.choice] <= _ORDER[with_fewer.choice]


@given(looks, st.floats(0, 50_000, allow_nan=False))
def test_it_stops_only_a_whole_window_after_anything_was_active(history, later):
    signals, at = seen(history)
    found = verdict(signals=signals, at=at + later)
    if found.choice is Choice.STOP:
        for signal in signals:
            assert signal.last_active_at is None or at + later >= signal.last_active_at + POLICY.window_s


@given(looks)
def test_whatever_was_seen_it_stops_in_the_end(history):
    signals, at = seen(history)
    signals = observe(signals, [evidence(False, name=signal.name) for signal in signals if signal.lasts], at)
    assert verdict(signals=signals, at=at + 7200.0 + 1800.0 + 1).choice is Choice.STOP
