import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_engine import ToyEngine, paced

from costctl.batch.pace import Limits, Pace, Sight

LIMITS = Limits(least=1, first=64, most=2048)


def sight(in_flight, running, waiting, *, at_s=0.0, done=0):
    return Sight(at_s=at_s, in_flight=in_flight, done=done, running=running, waiting=waiting)


@pytest.mark.parametrize("slots", [8, 32, 64, 256, 1024])
@pytest.mark.parametrize("mean_s", [0.2, 4.0])
def test_engines_of_every_size_are_kept_full_with_a_short_queue(slots, mean_s):
    chance = random.Random(slots)
    engine = ToyEngine(slots, lambda: chance.expovariate(1 / mean_s))
    pace, occupied = paced(engine, seconds=30, warm_up_s=8)
    assert occupied >= 0.98
    assert pace.allowed <= max(1.7 * slots, slots + 2)


def test_answers_that_all_end_at_once_leave_no_slot_empty_for_long():
    engine = ToyEngine(256, lambda: 2.0)
    assert paced(engine, seconds=60, warm_up_s=10)[1] >= 0.98


def test_an_engine_without_counters_gets_more_as_long_as_more_is_answered():
    chance = random.Random(1)
    engine = ToyEngine(256, lambda: chance.uniform(0.5, 1.5))
    pace, occupied = paced(engine, seconds=120, warm_up_s=60, counters=False)
    assert occupied >= 0.98
    assert pace.allowed < 1000
    assert not pace.is_doubling


def test_it_doubles_until_something_waits_and_then_grows_by_steps():
    pace = Pace.first(LIMITS).steered(sight(64, 64, 0)).steered(sight(128, 128, 0))
    assert pace.allowed == 256
    pace = pace.steered(sight(256, 200, 56))
    assert (pace.allowed, pace.is_doubling) == (256, False)
    assert pace.steered(sight(256, 250, 6)).allowed == 256 + 62


def test_a_queue_that_is_long_for_a_moment_changes_nothing_one_that_stays_is_shortened():
    pace = Pace.first(LIMITS)
    for _ in range(4):
        pace = pace.steered(sight(64, 8, 56))
    assert pace.allowed == 64
    assert pace.steered(sight(64, 8, 56)).allowed == 64 - 56 + 2
    calm = pace.steered(sight(64, 60, 4)).steered(sight(64, 8, 56))
    assert calm.allowed >= 64


def test_lines_that_the_engine_has_not_seen_are_no_reason_for_more():
    assert Pace.first(LIMITS).steered(sight(64, 20, 0)).allowed == 64


def test_a_file_that_runs_out_does_not_raise_the_pace():
    assert Pace.first(LIMITS).steered(sight(40, 40, 0)).allowed == 64


def test_an_engine_that_has_just_started_and_runs_nothing_yet_is_waited_for():
    pace = Pace.first(LIMITS)
    for _ in range(10):
        pace = pace.steered(sight(64, 0, 64))
    assert pace == Pace.first(LIMITS)


def test_a_burst_of_refusals_halves_the_pace_once_and_ends_the_doubling():
    pace = Pace.first(LIMITS)
    for at_s in (10.0, 10.1, 10.9):
        pace = pace.eased(at_s)
    assert (pace.allowed, pace.is_doubling) == (32, False)
    assert pace.eased(11.0).allowed == 16


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000), st.booleans()), max_size=60)
)
def test_whatever_is_seen_the_pace_stays_within_its_limits(sights):
    pace, at_s = Pace.first(LIMITS), 0.0
    for in_flight, running, waiting, refused in sights:
        at_s += 1.0
        pace = pace.eased(at_s) if refused else pace.steered(sight(in_flight, running, waiting, at_s=at_s))
        assert 1 <= pace.allowed <= 2048


def test_limits_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="contradict"):
        Limits(least=2, first=1)
